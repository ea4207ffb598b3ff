"""Training on the command line."""

from atelier.commands.frame import (
    Common,
    ResumeFlag,
    RunFlag,
    assembled,
    command,
    say_run,
    settings_of,
)
from atelier.running import train_model
from atelier.runs import Run
from settings import Layer


@command(
    "collect",
    "preprocess",
    "train",
    usual=(
        "data",
        "family",
        "start_from",
        "resolution",
        "total_seconds",
        "total_images",
        "precision",
        "device",
    ),
)
def train(
    *,
    resume: ResumeFlag = False,
    run: RunFlag = None,
    common: Common = Common(),
    given: Layer,
) -> None:
    """Train a model on a collection; --resume continues, to a larger --total-images if given."""
    place = common.place
    current, chosen = settings_of(common, "train", given, resume=resume, run=run)
    with assembled(place, chosen.components) as parts:

        def begin(name: str) -> Run:
            begun = current or Run.begin(place, "train", chosen, name)
            say_run(parts, begun)
            return begun

        trained, model = train_model(parts, chosen, begin)
        parts.ui.say(f"model:         {model.directory}")
        if (curves := trained.training / "curves.png").exists():
            parts.ui.say(f"curves:        {curves}")
