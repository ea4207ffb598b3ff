"""Replay: a picture made again from its record alone, and compared with what the file holds."""

import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

import numpy as np
from pydantic import ValidationError

from atelier.gallery import Shelf
from atelier.jobs import LocalUploads
from atelier.originals import Originals
from atelier.own_files import Requests, Rework
from atelier.workspace import Workspace
from components.common.sameness import hold_the_same
from components.conversion import find_pictures, read_picture, read_record
from components.families import FAMILIES
from interfaces.components import Components
from interfaces.contract import explain
from interfaces.errors import AtelierError, NotFoundError, RefusedError, one_line
from interfaces.ics import ICS
from interfaces.ies import IES, ROUTES
from interfaces.igdt import IGDT
from interfaces.igme import IGME, MODEL_FILE
from interfaces.igs import IGS
from interfaces.iodt import IODT, ResultQuery, ResultsGallery, ResultsStore
from interfaces.places import Place, expanded, fetched
from interfaces.record import EnhancementRecord, GeneratedOrigin, Origin, Record
from interfaces.ui import Choices

_log = logging.getLogger("atelier")

Verdict = Literal["equal", "equal pixels", "close", "different", "not possible"]


@dataclass(frozen=True)
class Replay:
    """Outcome of making one picture again."""

    name: str
    verdict: Verdict
    note: str = ""
    levels: float | None = None
    """Largest difference of a colour, in levels of 255; None where nothing was compared."""

    def line(self) -> str:
        """The outcome in one line, for a person."""
        return one_line(f"{self.name}: {self.verdict}{f' ({self.note})' if self.note else ''}")


def tally(found: Sequence[Replay]) -> str:
    """Count of each verdict, in one line: '50 pictures: 48 equal, 2 not possible'."""
    counts = Counter(one.verdict for one in found)
    parts = (f"{counts[verdict]} {verdict}" for verdict in get_args(Verdict) if counts[verdict])
    return f"{len(found)} picture{'' if len(found) == 1 else 's'}: {', '.join(parts)}"


def models_in(folder: Path) -> list[IGME]:
    """The models in a folder, at any depth; those that cannot be read are logged.

    Raises `NotFoundError` where there are none.
    """
    found: list[IGME] = []
    for path in sorted(folder.rglob(MODEL_FILE)):
        try:
            found.append(IGME.open(path.parent))
        except (AtelierError, OSError) as error:
            _log.warning("%s: passed over, since it cannot be read (%s)", path.parent, error)
    if not found:
        raise NotFoundError(f"{folder}: no model that can be read lies there, at any depth")
    return found


def pictures_asked_for(
    pictures: Iterable[Path], board: str | None, place: Workspace, store: ResultsStore
) -> list[Place]:
    """The files named, then those of the board; raises `AtelierError` where there are none."""
    paths = [expanded(path) for path in pictures]
    named: list[Place] = list(find_pictures(paths)) if paths else []
    if board is not None:
        named += _on_board(board, place, store)
    if not named:
        raise RefusedError("replay: name pictures, or a board with --board")
    return named


def _on_board(board: str, place: Workspace, store: ResultsStore) -> list[Place]:
    if not isinstance(store, ResultsGallery):
        raise RefusedError("component results_store: keeps no boards; name pictures")
    numbers = Shelf(place.shelf, store).find(ResultQuery(), board=board)
    if not numbers:
        raise NotFoundError(f"board {board!r}: no result lies on it")
    return [store.get(number).path for number in numbers]


def replay_all(
    parts: Components,
    place: Workspace,
    pictures: Iterable[Place],
    models: Path | None = None,
    inputs: Iterable[Path] = (),
) -> Iterator[Replay]:
    """Make each file's picture again, one at a time, and compare.

    `models` is a folder in which the models are sought first, at any depth; `inputs` are files and
    folders in which is sought what the pictures were made from. Raises `NotFoundError` where no
    model lies in `models`.
    """
    known = [] if models is None else models_in(expanded(models))
    given = [expanded(path) for path in inputs]
    originals = Originals(parts.results_store, LocalUploads(place.uploads), given)
    for picture in pictures:
        yield replay(parts, place, picture, known, originals)


def choices_of(record: Record, files: Mapping[str, Path] | None = None) -> Choices:
    """The choices that a record's picture was made with, so that it can be made again.

    The route by which a network was computed is left to the machine that makes it again. `files`
    are those that it was made from, by role. Raises `RefusedError` where the record does not hold
    enough: a person's own file, a generated picture's record for publishing, and one of settings
    that do not exist.
    """
    origin = record.origin
    if origin.kind != "generated":
        raise RefusedError(f"{origin.name}: a person's own file, which no model made")
    if record.is_published:
        raise RefusedError("its settings were left out of it, for publishing")
    try:
        return Choices(
            generate=_generation_of(origin).model_copy(update=dict(files or {})),
            enhance=_enhancement_of(record.enhancement),
            convert=ICS.model_validate(record.conversion),
        )
    except ValidationError as error:
        raise RefusedError(explain(error, "its record")) from error


def _generation_of(origin: GeneratedOrigin) -> IGS:
    family = FAMILIES.get(origin.family)
    # The style is then the one that the words named: one of the two is enough, and is all it takes.
    is_named = family is not None and family.names_style_in_words
    return IGS(
        seeds=(origin.seed,),
        style=origin.style,
        towards_style=origin.towards_style,
        style_blend=0.5 if origin.style_blend is None else origin.style_blend,
        prompt=None if is_named else origin.prompt,
        originality=origin.originality is not None,
        options=origin.options,
    )


def _enhancement_of(record: EnhancementRecord) -> IES:
    named = {} if record.enhancer == "none" else {"enhancer": record.enhancer}
    strength = 1.0 if record.enhancer in ("none", "lanczos") else record.strength
    return IES.model_validate(
        named | {"scale": record.scale, "strength": strength, "denoise": record.denoise}
    )


def replay(
    parts: Components,
    place: Workspace,
    picture: Place,
    models: Sequence[IGME] = (),
    originals: Originals | None = None,
) -> Replay:
    """Make a file's picture again, by its record, and compare the two.

    The model is sought by digest: among `models`, in the workspace, then among those that come
    with the project. Files that the picture was made from are sought among the `originals`: by
    default beside the picture, and among the workspace's uploads and results.
    """
    given = originals or Originals(parts.results_store, LocalUploads(place.uploads))
    nearest: Replay | None = None
    try:
        path = fetched(picture)
        record = read_record(path)
        for again in _remakes(parts, place, path, record, models, given):
            found = _compared(path, again)
            if found.verdict == "equal":
                return found
            nearest = min(nearest or found, found, key=_levels)
    except AtelierError as error:
        return Replay(picture.name, "not possible", str(error))
    assert nearest is not None  # there is at least one way
    return nearest


def _levels(found: Replay) -> float:
    return math.inf if found.levels is None else found.levels


def _remakes(
    parts: Components,
    place: Workspace,
    picture: Path,
    record: Record,
    models: Sequence[IGME],
    originals: Originals,
) -> Iterator[IODT]:
    """The picture made anew, in each way that may have led to this record."""
    origin = record.origin
    if origin.kind == "file":
        yield enlarged_again(parts, record, originals.find(origin.name, origin.sha256, picture))
        return
    choices_of(record)  # what the record lacks is said before any file or model is sought
    files = {
        given.role: originals.find(given.name, given.sha256, picture) for given in origin.inputs
    }
    model = _model_of(place, origin, models)
    yield remake(parts, record, model, files)
    if "source" in files:
        yield _reworked_again(parts, place, record, model, files)


def remake(
    parts: Components,
    record: Record,
    model: IGME,
    files: Mapping[str, Path] | None = None,
) -> IODT:
    """The encoded picture that a model's record describes, made anew. Raises `AtelierError`."""
    choices = choices_of(record, files)
    generated = parts.generation.generate(model, choices.generate, parts.ui.watch)
    return _encoded(parts, record, generated)


def enlarged_again(parts: Components, record: Record, original: Path) -> IODT:
    """A person's own picture, enlarged and encoded anew as its record says.

    Raises `AtelierError` where the file cannot be read or enlarged so.
    """
    file_format = ICS.model_validate(record.conversion).format
    return _encoded(parts, record, [read_picture(original, record.enhancement.scale, file_format)])


def _reworked_again(
    parts: Components, place: Workspace, record: Record, model: IGME, files: Mapping[str, Path]
) -> IODT:
    """Picture made as `rework` does, which keeps what the person's file held beside its pixels."""
    settings = choices_of(record, files).generate
    requests = Requests(place.requests)
    work = Rework(parts.generation, model, settings, read_picture, parts.ui.watch, requests)
    return _encoded(parts, record, [work.read(files["source"])])


def _encoded(parts: Components, record: Record, batches: Iterable[IGDT]) -> IODT:
    """Enlarge and encode as a record says."""
    # Its place in the request, names of files: they stand in the record, and in no pixel.
    told = (_as_recorded(batch, record.origin) for batch in batches)
    route = record.enhancement.route if record.enhancement.route in ROUTES else "auto"
    enhance = _enhancement_of(record.enhancement).model_copy(update={"route": route})
    enlarged = parts.enhancement.enhance(told, enhance, parts.ui.watch)
    return next(iter(parts.conversion.convert(enlarged, ICS.model_validate(record.conversion))))


def _as_recorded(batch: IGDT, recorded: Origin) -> IGDT:
    """The batch with what its origins cannot know; all else must come out by itself."""
    origins = tuple(_named_as(origin, recorded) for origin in batch.origins)
    return batch.model_copy(update={"origins": origins})


def _named_as(origin: Origin, recorded: Origin) -> Origin:
    if origin.kind == "generated" and recorded.kind == "generated":
        changes = {"index": recorded.index, "inputs": recorded.inputs}
        return origin.model_copy(update=changes)
    if origin.kind == "file" and recorded.kind == "file":
        return origin.model_copy(update={"name": recorded.name})
    return origin


def _model_of(place: Workspace, origin: GeneratedOrigin, models: Sequence[IGME]) -> IGME:
    for model in chain(models, (model for _, model in place.models())):
        if model.is_known_as(origin.model_digest):
            return model
    raise NotFoundError(
        f"its model ({origin.family}, {origin.model_digest[:16]}) is neither in {place.root} nor "
        "one that comes with the project; name the folder where it lies with --models"
    )


def _compared(picture: Path, again: IODT) -> Replay:
    if hold_the_same(again.data, picture.read_bytes()):
        return Replay(picture.name, "equal", "every pixel and the record", 0.0)
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
    return Replay(picture.name, verdict, f"within {math.ceil(levels)} of 255 levels", levels)
