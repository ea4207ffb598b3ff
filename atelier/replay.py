"""Replay: a picture made again from its record alone, and compared with what the file holds."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from atelier.workspace import Workspace
from components.common.sameness import hold_the_same
from components.conversion import read_picture, read_record
from components.families import FAMILIES
from interfaces.components import Components
from interfaces.errors import AtelierError, NotFoundError, RefusedError
from interfaces.ics import ICS
from interfaces.ies import IES, Route
from interfaces.igdt import IGDT
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.iodt import IODT
from interfaces.record import EnhancementRecord, GeneratedOrigin, Record
from interfaces.ui import Choices

Verdict = Literal["equal", "equal pixels", "close", "different", "not possible"]


@dataclass(frozen=True)
class Replay:
    """What became of making one picture again."""

    name: str
    verdict: Verdict
    note: str = ""
    levels: float | None = None
    """Largest difference of a colour, in levels of 255; None where nothing was compared."""

    def line(self) -> str:
        """One line for a person."""
        return f"{self.name}: {self.verdict}{f' ({self.note})' if self.note else ''}"


def tally(found: Sequence[Replay]) -> str:
    """How many came out how, in one line: '50 pictures: 48 equal, 2 not possible'."""
    counts = Counter(one.verdict for one in found)
    parts = (f"{counts[verdict]} {verdict}" for verdict in get_args(Verdict) if counts[verdict])
    return f"{len(found)} picture{'' if len(found) == 1 else 's'}: {', '.join(parts)}"


def models_in(folder: Path) -> list[IGME]:
    """The models in a folder, at any depth. Raises `AtelierError` where there are none."""
    found = [IGME.open(path.parent) for path in sorted(folder.rglob("model.json"))]
    if not found:
        raise NotFoundError(f"{folder}: no model lies there, at any depth")
    return found


def choices_of(record: Record) -> Choices:
    """The choices that a record's picture was made with, so that it can be made again.

    Raises `RefusedError` where the record does not hold enough: a person's own file, a record for
    publishing, and pictures made from a sketch or another file, which it names by digest alone.
    """
    origin = record.origin
    if record.is_published:
        raise RefusedError("its settings were left out of it, for publishing")
    if origin.kind != "generated":
        raise RefusedError(f"{origin.name}: a person's own file, which no model made")
    if origin.inputs:
        files = ", ".join(f"{given.role} {given.name}" for given in origin.inputs)
        raise RefusedError(f"it was made from files that the record does not hold ({files})")
    return Choices(
        generate=_generation_of(origin),
        enhance=_enhancement_of(record.enhancement),
        convert=ICS.model_validate(record.conversion),
    )


def _generation_of(origin: GeneratedOrigin) -> IGS:
    family = FAMILIES.get(origin.family)
    # Without a style of its own the words name it, so one of the two is enough.
    reads_words = family is not None and "prompt" in family.takes
    return IGS(
        seeds=(origin.seed,),
        style=origin.style,
        towards_style=origin.towards_style,
        style_blend=0.5 if origin.style_blend is None else origin.style_blend,
        prompt=origin.prompt if reads_words else None,
        originality=origin.originality is not None,
        options=origin.options,
    )


def _enhancement_of(record: EnhancementRecord) -> IES:
    named = {} if record.enhancer == "none" else {"enhancer": record.enhancer}
    route = record.route if record.route in get_args(Route) else "auto"
    strength = 1.0 if record.enhancer in ("none", "lanczos") else record.strength
    return IES.model_validate(
        named
        | {"scale": record.scale, "strength": strength, "denoise": record.denoise, "route": route}
    )


def replay(
    parts: Components, place: Workspace, picture: Path, models: Sequence[IGME] = ()
) -> Replay:
    """Make a file's picture again, by its record, and compare the two.

    The model is sought by digest: among `models`, in the workspace, then among those that come
    with the project.
    """
    try:
        record = read_record(picture)
        again = remake(parts, place, record, models)
    except AtelierError as error:
        return Replay(picture.name, "not possible", str(error))
    if hold_the_same(again.data, picture.read_bytes()):
        return Replay(picture.name, "equal", "every pixel and the record", 0.0)
    return _compared(picture, again)


def remake(
    parts: Components, place: Workspace, record: Record, models: Sequence[IGME] = ()
) -> IODT:
    """The encoded picture that a record describes, made anew. Raises `AtelierError`."""
    choices, origin = choices_of(record), record.origin
    assert origin.kind == "generated"
    model = _model_of(place, origin, models)
    generated = parts.generation.generate(model, choices.generate, parts.ui.watch)
    # The place in the request that it was part of stands in the record, and in no pixel.
    numbered = (_at(batch, origin.index) for batch in generated)
    enlarged = parts.enhancement.enhance(numbered, choices.enhance, parts.ui.watch)
    return next(iter(parts.conversion.convert(enlarged, choices.convert)))


def _at(batch: IGDT, index: int) -> IGDT:
    origins = tuple(origin.model_copy(update={"index": index}) for origin in batch.origins)
    return batch.model_copy(update={"origins": origins})


def _model_of(place: Workspace, origin: GeneratedOrigin, models: Sequence[IGME]) -> IGME:
    for model in chain(models, (model for _, model in place.models())):
        if model.is_known_as(origin.model_digest):
            return model
    raise NotFoundError(
        f"its model ({origin.family}, {origin.model_digest[:16]}) is neither in {place.root} nor "
        "one that comes with the project; name the folder where it lies with --models"
    )


def _compared(picture: Path, again: IODT) -> Replay:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / f"again{again.suffix}"
        path.write_bytes(again.data)
        before, after = read_picture(picture).images, read_picture(path).images
    if before.shape != after.shape:
        return Replay(picture.name, "different", f"{after.shape[3]}x{after.shape[2]} pixels now")
    levels = float(np.abs(before - after).max()) * 127.5
    if levels == 0:
        return Replay(picture.name, "equal pixels", "the file's other bytes differ", 0.0)
    verdict: Verdict = "close" if levels <= 8 else "different"
    return Replay(picture.name, verdict, f"within {math.ceil(levels)} levels of 255", levels)
