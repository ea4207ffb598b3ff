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
from atelier.runs import Run
from atelier.stages import collect
from atelier.stages import train as train_model
from components.common.durable import exclusive
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
    """Train a model on a collection; --resume goes on, also to a longer --total-images."""
    place = common.place
    current, chosen = settings_of(common, "train", given, resume=resume, run=run)
    with assembled(place, chosen.components) as parts:
        collection = collect(parts, chosen)
        name = f"{chosen.train.family}-{collection.name}"
        current = current or Run.begin(place, "train", chosen, name)
        say_run(parts, current)
        with exclusive(current.folder / ".lock"):
            model = train_model(parts, current, collection)
            current.finish()
        parts.ui.say(f"model:         {model.directory}")
        if (curves := current.training / "curves.png").exists():
            parts.ui.say(f"curves:        {curves}")
