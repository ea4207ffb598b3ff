"""Common part of enlarging, converting and reworking a person's own pictures."""

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from typing import Protocol

from PIL import Image

from atelier import guard
from atelier.own_files.passing_over import made_of_each
from components.common.durable import sha256_of, sweep, write_bytes
from components.common.files import real_path
from components.common.images import check_header, foreign
from components.common.pipelining import overlapped
from interfaces.errors import AtelierError, RefusedError, one_line, unreadable
from interfaces.ics import ICS
from interfaces.iedt import Enhancer
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.iodt import (
    IODT,
    Converter,
    ResultQuery,
    ResultsStore,
    StoredResult,
    every_result,
)
from interfaces.places import Place, expanded, fetched
from interfaces.progress import ProgressEvent
from interfaces.record import UNNAMED_FILE, EnhancementRecord, FileOrigin, Record
from interfaces.ui import UserInterface


class Ports(Protocol):
    """The components that take part."""

    @property
    def enhancement(self) -> Enhancer:
        """Enlarges."""
        ...

    @property
    def conversion(self) -> Converter:
        """Encodes."""
        ...

    @property
    def results_store(self) -> ResultsStore:
        """The store that keeps the results where no folder is named."""
        ...

    @property
    def ui(self) -> UserInterface:
        """Hears of the progress and of files that are bad."""
        ...


@dataclass(frozen=True)
class Treatment:
    """Treatment of each picture, and the settings that it is enlarged and encoded with."""

    stage: str
    """Name of the work in words: 'enhance'."""
    read: Callable[[Path], IGDT]
    """A file => a batch of one. Raises `AtelierError` for a file that this cannot be done with."""
    file_of: Callable[[Record, str], FileOrigin | None]
    """The file from which a result was made, by its record and place; None: of another errand."""
    keep: Callable[[IODT], None]
    """Called with each picture that is kept."""
    enhance: IES
    convert: ICS


@dataclass
class _Piece:
    """One file, the sub-folder that its result belongs in, and the place that was found for it."""

    path: Path
    inside: Path
    number: int
    """Its place among the files found."""
    place: Path | None = None


_FAULTS_OF_A_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)
_MAX_NAME_BYTES = 250  # file systems take 255; a temporary file beside it needs a few


def own_file(record: Record, sha256: str) -> FileOrigin | None:
    """The origin of a picture that is the person's own file, only treated; None of a made one."""
    return record.origin if record.origin.kind == "file" else None


class Errand:
    """A person's own pictures: read, worked on, and each kept in its place.

    The place is in the folder `output`, under the same sub-folders as the picture came from, else
    in the results store. What is there already is not made again, and no other file is replaced.
    """

    def __init__(
        self,
        ports: Ports,
        treatment: Treatment,
        read_record: Callable[[Path], Record],
        suffix: str,
        output: Path | None,
    ) -> None:
        self._ports = ports
        self._treatment = treatment
        self._read_record = read_record
        self._suffix = suffix
        self._output = expanded(output) if output else None
        self._taken: set[str] = set()  # places in `output`, without case: some disks know none
        self._planned: tuple[EnhancementRecord, ...] = ()
        self._kept: list[Place] = []
        self._names: set[str] = set()  # of the files found, as records have them
        self._num_bad = self._num_there = self._num_found = 0

    def run(self, found: Mapping[Path, Path]) -> bool:
        """Work on these files, each with the sub-folder that its result belongs in.

        A file that cannot be read, enlarged, encoded, named or written is named with its reason,
        and the others are worked on. True where none was passed over for such a reason. Raises
        `AtelierError` where nothing can be made of any.
        """
        ports, treatment = self._ports, self._treatment
        # Loading an enlarger and choosing how it runs takes a while.
        ports.ui.watch(ProgressEvent(stage=treatment.stage, done=0, total=len(found)))
        pixels = sum(map(_pixels_of, found))
        self._planned = _plans(ports.enhancement, treatment.enhance, pixels)
        found = {
            path: inside for path, inside in found.items() if not self._is_own_result(path, inside)
        }
        self._num_found = len(found)
        is_unnamed = self._treatment.convert.publish
        self._names = {_recorded_name(path, is_unnamed=is_unnamed) for path in found}
        self._sweep(found)
        pieces = [_Piece(*piece, number) for number, piece in enumerate(found.items())]
        for piece, image in made_of_each(
            pieces, self._read, partial(self._made, pixels), self._name
        ):
            try:
                self._kept.append(self._keep(piece, image))
            except AtelierError as error:
                self._name(piece, error)
        ports.ui.watch(ProgressEvent(stage=treatment.stage, done=len(found), total=len(found)))
        self._tell(treatment.stage)
        return self._num_bad == 0

    def _sweep(self, found: Mapping[Path, Path]) -> None:
        """Remove what killed processes were writing to the folders of these files' results."""
        if self._output is not None:
            for inside in set(found.values()):
                sweep(self._output / inside)

    def _made(self, pixels: int, batches: Iterator[IGDT]) -> Iterator[IODT]:
        """Enlarge and encode; `pixels` are those of all files."""
        ports, treatment = self._ports, self._treatment
        enlarged = ports.enhancement.enhance(batches, treatment.enhance, ports.ui.watch, pixels)
        # Encoding a picture takes turns with the next one's enlargement, beside it.
        return overlapped(enlarged, lambda some: ports.conversion.convert(some, treatment.convert))

    def _read(self, piece: "_Piece") -> IGDT | None:
        """The picture of a file; None where its result is there already."""
        self._ports.ui.watch(
            ProgressEvent(
                stage=self._treatment.stage,
                done=piece.number,
                total=self._num_found,
                note=piece.path.name,
            )
        )
        # One that was taken in beside a bad file has its place already.
        piece.place = piece.place or self._free_place(piece.path, piece.inside)
        if piece.place is None:
            self._num_there += 1
            return None
        return self._treatment.read(piece.path)

    def _name(self, piece: "_Piece", error: AtelierError) -> None:
        """Say which file could not be used, and why."""
        said = str(error)
        self._ports.ui.warn(said if said.startswith(str(piece.path)) else f"{piece.path}: {said}")
        self._num_bad += 1

    def _tell(self, stage: str) -> None:
        """Say how many files were made, were there already, and were bad."""
        ui = self._ports.ui
        if self._num_found and self._num_bad == self._num_found:
            raise AtelierError(
                f"{stage}: nothing could be made of any of these files; what is wrong with each is "
                "said above"
            )
        where = self._output or (self._kept[-1].parent if self._kept else "the results store")
        ui.say(f"images:        {len(self._kept)} in {where}")
        if self._num_there:
            ui.say(f"passed over:   {self._num_there} that were there already")
        if self._num_bad:
            ui.warn(f"{self._num_bad} of {self._num_found} could not be used; see above")

    def _keep(self, piece: "_Piece", image: IODT) -> Place:
        self._treatment.keep(image)
        if self._output is None or piece.place is None:
            return guard.keep(self._ports.results_store, image, "").path
        try:
            write_bytes(piece.place, image.data)
        except OSError as error:
            if error.errno not in _FAULTS_OF_A_NAME:
                raise  # the disk's: it would hit every other file too
            raise RefusedError(f"{piece.place}: cannot be written ({error.strerror})") from error
        return piece.place

    def _free_place(self, path: Path, inside: Path) -> Path | None:
        """The first name that nothing has; None where this picture's result has it."""
        file = _file_origin(path, is_unnamed=self._treatment.convert.publish)
        if self._output is None:
            return None if (file.name, file.sha256) in self._stored else path
        for number in count(1):
            place = self._output / inside / _named(path.stem, number, self._suffix)
            if str(place).casefold() in self._taken:
                continue
            is_there = place.exists()
            if is_there and self._file_in(place) != file:
                continue  # another's
            self._taken.add(str(place).casefold())
            return None if is_there and _is_whole(place) else place
        raise AssertionError("numbers do not end")

    @cached_property
    def _stored(self) -> set[tuple[str, str]]:
        """Name and digest of those of the found files whose results are in the store."""
        of_no_run = every_result(self._ports.results_store, ResultQuery(run=""))
        made_of = ((self._file_of(result.record, result.sha256), result) for result in of_no_run)
        return {
            (file.name, file.sha256)
            for file, result in made_of
            if file is not None and file.name in self._names and _is_as_kept(result)
        }

    def _is_own_result(self, path: Path, inside: Path) -> bool:
        """Whether a picture was found only because the output folder is inside the input folder."""
        if self._output is None or not real_path(path).is_relative_to(real_path(self._output)):
            return False
        named = real_path(path.parents[len(inside.parts)])
        is_inside = not named.is_relative_to(real_path(self._output))
        return is_inside or self._file_in(path) is not None

    def _file_in(self, path: Path) -> FileOrigin | None:
        try:
            return self._file_of(self._read_record(path), sha256_of(path))
        except (AtelierError, OSError):
            return None  # anybody's

    def _file_of(self, record: Record, sha256: str) -> FileOrigin | None:
        """The file that a result was made from; None where these settings give another result."""
        asked, done = self._treatment.enhance, record.enhancement
        if record.conversion != self._conversion:
            return None
        is_computed_so = asked.route == "auto" or done.route in (None, asked.route)
        is_planned_so = done.model_copy(update={"route": None}) in self._planned
        is_enlarged_so = is_computed_so and is_planned_so
        return self._treatment.file_of(record, sha256) if is_enlarged_so else None

    @cached_property
    def _conversion(self) -> dict[str, object]:
        """Conversion as the record of a picture encoded with these settings states it."""
        return self._treatment.convert.recorded()


def _plans(enhancer: Enhancer, settings: IES, pixels: int) -> tuple[EnhancementRecord, ...]:
    """The records of results that need not be made again: this request's, and a single file's.

    An enhancer may give a single file a better network than it can give a folder of them.
    """
    return enhancer.planned(settings, pixels), enhancer.planned(settings)


def _pixels_of(path: Path) -> int:
    """Pixels of a picture by its header; 0 where it has none that can be read."""
    try:
        with foreign(str(path)):
            header = check_header(path)
    except AtelierError:
        return 0  # reading the file will name it
    return header.width * header.height


def _is_whole(path: Path) -> bool:
    """Whether a file that holds one of Atelier's results can be decoded to its end."""
    try:
        with foreign(str(path)), Image.open(path) as image:
            image.load()
    except AtelierError:
        return False
    return True


def _is_as_kept(result: StoredResult) -> bool:
    try:
        return sha256_of(fetched(result.path)) == result.sha256
    except (AtelierError, OSError):
        return False


def _named(stem: str, number: int, suffix: str) -> str:
    """'name-2.png'; a stem that leaves no room for the rest is cut."""
    ending = f"{f'-{number}' if number > 1 else ''}{suffix}"
    room = _MAX_NAME_BYTES - len(ending.encode())
    return os.fsencode(stem)[:room].decode("utf-8", "ignore") + ending


def _recorded_name(path: Path, *, is_unnamed: bool) -> str:
    return UNNAMED_FILE if is_unnamed else one_line(path.name)


def _file_origin(path: Path, *, is_unnamed: bool) -> FileOrigin:
    """Origin in the record of a picture made of this file; for publishing, without its name."""
    name = _recorded_name(path, is_unnamed=is_unnamed)
    try:
        return FileOrigin(name=name, sha256=sha256_of(path))
    except OSError as error:
        raise unreadable(error)(f"{path}: cannot be read ({error.strerror})") from error
