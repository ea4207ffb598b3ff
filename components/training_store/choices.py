"""A person's choices for single pictures of a collection, kept beside it and never in it."""

import hashlib
import logging
import os
from contextlib import ExitStack
from pathlib import Path

from pydantic import ValidationError

from components.common.durable import write_text
from components.common.files import read_regular
from components.common.names import printable
from components.training_store.manifest import Tally, find_manifest, open_new, write_message
from interfaces.errors import DamagedError, RefusedError
from interfaces.itdt import (
    ITDT,
    CollectionChoices,
    PictureChoice,
    QuarantinedFile,
    TrainingImage,
)

_log = logging.getLogger("atelier")


def choices_place(collection: Path) -> Path:
    """Path of the choices for a folder or archive: beside it, under its name."""
    place = Path(os.path.normpath(collection.absolute()))  # of '..' too, which has no name itself
    return place.parent / f"{place.name}.atelier.json"


def read_choices(place: Path) -> CollectionChoices | None:
    """The choices in a file; None if there are none. Raises `DamagedError`."""
    try:
        choices = CollectionChoices.model_validate_json(read_regular(place))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise DamagedError(
            f"{place}: not readable as choices for a collection; mend it or move it away"
        ) from error
    return choices if choices.pictures else None


def write_choices(place: Path, choices: CollectionChoices) -> None:
    """Keep choices beside a collection. Raises `RefusedError` where that folder is read-only."""
    try:
        write_text(place, choices.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise RefusedError(
            f"{place}: cannot be written ({error.strerror}); choices are kept beside the "
            "collection, so copy it to a folder of your own first"
        ) from error


def with_choices(collection: ITDT, choices: CollectionChoices) -> ITDT:
    """An inspected collection as a person wants it: a manifest of its own beside the first.

    Raises `RefusedError` where every picture is excluded, or a crop does not fit its picture.
    """
    _name_strangers(collection, choices)
    digest = hashlib.sha256(choices.model_dump_json().encode()).hexdigest()
    base = collection.manifest
    folder = base.with_name(f"{base.name}-{digest[:16]}")
    known = find_manifest(folder)
    if known is not None:
        return known.model_copy(update={"name": collection.name, "source": collection.source})
    folder.mkdir(parents=True, exist_ok=True)
    tally, kept = _write_pictures(collection, choices, folder)
    if not tally.num_images:
        raise RefusedError(f"{collection.name}: every picture is excluded; restore one")
    kinds = _write_duplicates(collection, kept, folder)
    changes = {
        "manifest": folder,
        "choices": choices,
        "num_images": tally.num_images,
        "images_per_style": dict(sorted(tally.per_style.items())),
        "num_quarantined": tally.num_quarantined,
        "rights": tally.rights(),
        "num_exact_duplicates": kinds.count("exact"),
        "num_near_duplicates": kinds.count("near"),
        "digest": tally.digest(),
    }
    return write_message(folder, collection.model_copy(update=changes))


def _name_strangers(collection: ITDT, choices: CollectionChoices) -> None:
    """Say that choices have no effect: a picture that was renamed, say, is no longer excluded."""
    known = {image.name for image in collection.images()}
    if strangers := sorted(choices.pictures.keys() - known):
        _log.warning(
            "%s: choices for pictures that are not in it have no effect (%d; the first: %s)",
            collection.name,
            len(strangers),
            printable(strangers[0]),
        )


def _write_pictures(
    collection: ITDT, choices: CollectionChoices, folder: Path
) -> tuple[Tally, set[str]]:
    tally, kept = Tally(), set[str]()
    with ExitStack() as files:
        images = open_new(files, folder / "images.jsonl")
        quarantined = open_new(files, folder / "quarantined.jsonl")
        for file in collection.quarantined():
            quarantined.write(file.model_dump_json() + "\n")
            tally.put_aside(file)
        for image in collection.images():
            choice = choices.pictures.get(image.name, PictureChoice())
            if choice.is_excluded:
                file = QuarantinedFile(
                    name=image.name, reason="excluded", detail="a person took it out"
                )
                quarantined.write(file.model_dump_json() + "\n")
                tally.put_aside(file)
                continue
            chosen = _chosen(image, choice)
            images.write(chosen.model_dump_json() + "\n")
            tally.add(chosen, None)
            kept.add(image.name)
    return tally, kept


def _chosen(image: TrainingImage, choice: PictureChoice) -> TrainingImage:
    if choice.crop is not None:
        left, upper, side = choice.crop
        if left + side > image.width or upper + side > image.height:
            raise RefusedError(f"{image.name}: its crop reaches beyond the picture; set it again")
    return image.model_copy(update={"style": choice.style or image.style, "crop": choice.crop})


def _write_duplicates(collection: ITDT, kept: set[str], folder: Path) -> list[str]:
    """Pairs of which both are still there; their kinds."""
    pairs = [pair for pair in collection.duplicates() if {pair.name, pair.of} <= kept]
    with ExitStack() as files:
        stream = open_new(files, folder / "duplicates.jsonl")
        stream.writelines(pair.model_dump_json() + "\n" for pair in pairs)
    return [pair.kind for pair in pairs]
