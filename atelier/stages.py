"""The stages of a run, shared by the whole way, the commands and the jobs."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from atelier import guard
from atelier.runs import Run
from components.common.durable import write_bytes
from components.common.files import read_regular
from components.common.pipelining import overlapped
from components.conversion import sheet as encoded_sheet
from components.families import FAMILIES
from components.training import TrainingFolder
from interfaces.components import Components
from interfaces.errors import AtelierError
from interfaces.ics import ICS
from interfaces.igdt import IGDT
from interfaces.igme import IGME
from interfaces.igs import IGS, MAX_BATCH_SIZE, format_seeds
from interfaces.iodt import IODT, ResultsStore, StoredResult, kept_seeds
from interfaces.ipdt import IPDT
from interfaces.itdt import ITDT, Rights
from interfaces.places import fetched
from interfaces.progress import ProgressEvent
from interfaces.ui import Choices, UserInterface
from settings import RunSettings

IN_FLIGHT_BYTES = 64 * 2**20
"""Enlarged pixels on their way at once: bounds memory whatever the number of images."""

SEEDS_AT_ONCE = 1000
"""Seeds that the store is asked for together."""

_NO_TIME = 1e-9
"""A budget of seconds that is over at once."""

MAX_TILES = 100
"""Pictures on a contact sheet."""


def collect(parts: Components, chosen: RunSettings) -> ITDT:
    """Inspect the collection, and say in a line what was found."""
    collection = parts.training_store.collect(chosen.collect, parts.ui.watch)
    parts.ui.say(
        f"{collection.name}: {collection.num_images} images, {len(collection.styles)} styles"
    )
    if collection.num_quarantined:
        parts.ui.warn(
            f"files put aside: {collection.num_quarantined}; `inspect` names each and why"
        )
    if collection.rights is not None:
        parts.ui.warn(_rights_in_words(collection.rights))
    return collection


def _rights_in_words(rights: Rights) -> str:
    if rights.decision == "taken":
        return (
            f"pictures taken although their files say not to train on them: {rights.num_reserved}"
        )
    return (
        f"pictures left out because their files say not to train on them: {rights.num_reserved}; "
        "`--collect.reserved take` takes them"
    )


def prepare(parts: Components, chosen: RunSettings) -> tuple[str, IPDT]:
    """Collect and preprocess, where there is no run => the collection's name, and the set."""
    collection = collect(parts, chosen)
    watch = parts.ui.watch
    return collection.name, parts.preprocessing.preprocess(collection, chosen.preprocess, watch)


def train(parts: Components, run: Run, collection: ITDT, *, is_to_end: bool = False) -> IGME:
    """Train the run's model, or go on with it, or find it finished.

    `is_to_end`: learn no more, and make the model of the state that the training has saved.
    """
    watch, settings = parts.ui.watch, run.chosen.train
    if is_to_end:
        settings = settings.model_copy(update={"total_seconds": _NO_TIME})
    prepared = parts.preprocessing.preprocess(collection, run.chosen.preprocess, watch)
    model = parts.training.train(prepared, settings, run.training, watch)
    say_verdict(parts.ui, run)
    return model


def say_verdict(ui: UserInterface, run: Run) -> None:
    """Say in plain words how good the run's model is, where its trainer leaves a verdict."""
    verdict = TrainingFolder(run.training).verdict()
    for sentence in verdict.sentences() if verdict else ():
        ui.say(sentence)


def make_images(parts: Components, run: Run, model: IGME) -> list[StoredResult]:
    """Generate, enlarge, encode and keep; go on at the first image that is missing."""
    wanted, watch = ask(parts.ui, run), parts.ui.watch
    missing = missing_of(parts.results_store, run, model, wanted)
    if missing is not None:
        generated = parts.generation.generate(model, missing, watch)
        pixels = pixels_of(wanted.generate, model.resolution)
        enlarged = parts.enhancement.enhance(generated, wanted.enhance, watch, pixels)
        for image in overlapped(
            enlarged, lambda some: parts.conversion.convert(some, wanted.convert)
        ):
            keep(parts, run, image)
    return kept_of(parts.results_store, run, model, wanted)


def pixels_of(request: IGS, resolution: int) -> int:
    """Pixels of all pictures that a request asks for, those of a resumed run too."""
    return request.num_chosen * resolution**2


def ask(ui: UserInterface, run: Run) -> Choices:
    """The person's choices, saved with the run so that resuming asks for the same."""
    chosen = run.chosen
    proposed = Choices(generate=chosen.generate, enhance=chosen.enhance, convert=chosen.convert)
    choices = ui.ask(proposed)
    if choices != proposed:
        run.chosen = chosen.model_copy(update=dict(choices))
        run.save()
    return choices


def missing_of(store: ResultsStore, run: Run, model: IGME, wanted: Choices) -> IGS | None:
    """The request for what the run has not kept yet of this model; None where nothing is left."""
    done = next(_places_missing(store, run, model, wanted), None)
    if done is None:
        return None
    side = model.resolution * wanted.enhance.scale
    batch_size = min(MAX_BATCH_SIZE, max(1, IN_FLIGHT_BYTES // (3 * 4 * side**2)))
    if wanted.generate.source is not None:
        batch_size = 1  # what is made may be as large as the source
    return wanted.generate.model_copy(
        update={"skip": done, "batch_size": wanted.generate.batch_size or batch_size}
    )


def _places_missing(store: ResultsStore, run: Run, model: IGME, wanted: Choices) -> Iterator[int]:
    """Places in the request whose picture the run has not kept; deleted ones were made."""
    seeds = wanted.generate.chosen_seeds
    for start in range(0, len(seeds), SEEDS_AT_ONCE):
        some = seeds[start : start + SEEDS_AT_ONCE]
        kept = _kept_seeds(store, run, model, some)
        yield from (place for place, seed in enumerate(some, start) if seed not in kept)


def _kept_seeds(store: ResultsStore, run: Run, model: IGME, seeds: Sequence[int]) -> dict[int, int]:
    """Seeds of these that the run has kept => results, also under an earlier version's digest."""
    return {
        seed: number
        for digest in reversed(model.digests)
        for seed, number in kept_seeds(store, run.name, digest, seeds).items()
    }


def keep(parts: Components, run: Run, image: IODT) -> StoredResult:
    """Store one image of a run, and report how far the run is."""
    result = guard.keep(parts.results_store, image, run.name)
    origin = image.record.origin
    if origin.kind == "generated":
        total = run.chosen.generate.num_chosen
        parts.ui.watch(ProgressEvent(stage="make images", done=origin.index + 1, total=total))
    return result


def kept_of(store: ResultsStore, run: Run, model: IGME, wanted: Choices) -> list[StoredResult]:
    """The run's first results, as many as its contact sheet shows.

    Raises `AtelierError` where a picture that was asked for is missing.
    """
    seeds = wanted.generate.chosen_seeds
    if lost := [seeds[place] for place in _places_missing(store, run, model, wanted)]:
        raise AtelierError(
            f"run {run.name}: no image was kept for the seeds {format_seeds(tuple(lost))}; a "
            "component gave fewer than it was asked for, or the files were removed meanwhile"
        )
    kept = _kept_seeds(store, run, model, seeds[:MAX_TILES])
    return [store.get(kept[seed]) for seed in seeds[:MAX_TILES]]


def write_contact_sheet(results: Sequence[StoredResult], settings: ICS, path: Path) -> None:
    """Write a PNG of all pictures, each at most 256 pixels wide, with the first one's record."""
    import numpy as np
    from PIL import Image

    from components.common.images import MAX_ENLARGED_PIXELS, foreign, open_upright

    tiles: list[np.ndarray] = []
    for result in results:
        with foreign(str(result.path)):
            image = open_upright(read_regular(fetched(result.path)), MAX_ENLARGED_PIXELS)
        image.thumbnail((256, 256), Image.Resampling.LANCZOS)
        tiles.append(np.asarray(image.convert("RGB")))
    write_bytes(path, encoded_sheet(tiles, results[0].record, settings))


def present(parts: Components, run: Run, results: Sequence[StoredResult]) -> None:
    """Write the contact sheet of a run's results, and say where it all is."""
    sheet = run.folder / "contact-sheet.png"
    write_contact_sheet(results, run.chosen.convert, sheet)
    count, width, height = (
        run.chosen.generate.num_chosen,
        results[0].width,
        results[0].height,
    )
    parts.ui.say(f"images:        {count} of {width}x{height} in {results[0].path.parent}")
    parts.ui.say(f"contact sheet: {sheet}")


def frames_of(parts: Components, model: IGME, request: IGS, count: int) -> Iterator[IGDT]:
    """Batches of one picture each, `count` from seed to seed; the last seed's picture ends them."""
    seeds, watch = request.chosen_seeds, parts.ui.watch
    steps: list[tuple[int, tuple[int, float] | None]] = [
        (seed, (following, n / count)) for seed, following in pairwise(seeds) for n in range(count)
    ]
    steps.append((seeds[-1], None))
    for done, (seed, way) in enumerate(steps):
        watch(ProgressEvent(stage="interpolate", done=done, total=len(steps)))
        options = request.options
        if way is not None:
            options = options | {"towards_seed": way[0], "blend": way[1]}
        changes: dict[str, object] = {"seeds": (seed,), "options": options}
        if request.style is None and way is not None and _has_styles(model):
            # Each seed has a style of its own then: it is gone through too, or the way would jump.
            here, there = (model.styles[n % len(model.styles)] for n in (seed, way[0]))
            changes |= {"style": here, "towards_style": there, "style_blend": way[1]}
        yield from parts.generation.generate(model, request.model_copy(update=changes), watch)
    watch(ProgressEvent(stage="interpolate", done=len(steps), total=len(steps)))


def _has_styles(model: IGME) -> bool:
    family = FAMILIES.get(model.family)
    return family is not None and family.is_conditional
