"""Collections on the command line: inspect and preprocess."""

from atelier.choices import choose
from atelier.commands.frame import Common, assembled, command
from atelier.stages import prepare
from components.training_store import report_lines
from settings import Layer


@command("collect", usual=("data", "styles_csv"))
def inspect_collection(*, common: Common = Common(), given: Layer) -> None:
    """Report on a collection: bad files, duplicates, balance of styles."""
    chosen = choose(common.layer(given))
    with assembled(common.place, chosen.components) as parts:
        collection = parts.training_store.collect(chosen.collect, parts.ui.watch)
    for line in report_lines(collection):
        print(line)


@command("collect", "preprocess", usual=("data", "resolution", "styles_csv"))
def preprocess(*, common: Common = Common(), given: Layer) -> None:
    """Prepare a collection for training: square, small, RGB, in one array."""
    chosen = choose(common.layer(given))
    with assembled(common.place, chosen.components) as parts:
        _, prepared = prepare(parts, chosen)
        parts.ui.say(f"prepared:      {prepared.num_images} images in {prepared.directory}")
