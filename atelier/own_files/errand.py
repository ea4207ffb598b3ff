"""What enlarging, converting and reworking a person's own pictures have in common."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Protocol

from PIL import Image

from components.common.durable import sha256_of, write_bytes
from components.common.pipelining import overlapped
from interfaces.errors import AtelierError
from interfaces.ics import ICS
from interfaces.iedt import Enhancer
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.iodt import IODT, Converter, ResultQuery, ResultsStore
from interfaces.progress import ProgressEvent
from interfaces.record import EnhancementRecord, FileOrigin, Origin, Record
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
        """Keeps, where no folder is named."""
        ...

    @property
    def ui(self) -> UserInterface:
        """Is told how far it is, and which files are bad."""
        ...


@dataclass(frozen=True)
class Task:
    """What becomes of each picture, and with which settings it is enlarged and encoded."""

    stage: str
    """As a person would say it: 'enhance'."""
    read: Callable[[Path], IGDT]
    """A file => a batch of one. Raises `AtelierError` for a file that this cannot be done with."""
    file_of: Callable[[Origin], FileOrigin | None]
    """The file that a result with this origin was made of; None where it is no result of this."""
    enhance: IES
    convert: ICS


def own_file(origin: Origin) -> FileOrigin | None:
    """The `file_of` a task that makes no new picture: the origin is the file itself."""
    return origin if origin.kind == "file" else None


class Errand:
    """A person's own pictures: read, worked on, and each kept in its place.

    The place is in the folder `output`, under the same sub-folders as the picture came from, else
    in the results store. What is there already is not made again, and no other file is replaced.
    """

    def __init__(
        self,
        ports: Ports,
        task: Task,
        read_record: Callable[[Path], Record],
        suffix: str,
        output: Path | None,
    ) -> None:
        self._ports = ports
        self._task = task
        self._read_record = read_record
        self._suffix = suffix
        self._output = output.expanduser() if output else None
        self._taken: set[str] = set()  # places in `output`, without case: some disks know none
        self._places: deque[Path] = deque()  # of the pictures on their way, in their order
        self._planned: tuple[EnhancementRecord, ...] = ()
        self._num_bad = self._num_there = 0

    def run(self, found: Mapping[Path, Path]) -> None:
        """Work on these files, each with the sub-folder that its result belongs in.

        Raises `AtelierError` where nothing can be made of any.
        """
        ports, task = self._ports, self._task
        pixels = sum(map(_pixels_of, found))
        self._planned = _plans(ports.enhancement, task.enhance, pixels)
        found = {
            path: inside for path, inside in found.items() if not self._is_own_result(path, inside)
        }
        enlarged = ports.enhancement.enhance(
            self._read(found), task.enhance, ports.ui.watch, pixels
        )
        # Encoding a picture takes turns with the next one's enlargement, beside it.
        images = overlapped(enlarged, lambda some: ports.conversion.convert(some, task.convert))
        kept = [self._keep(image) for image in images]
        where = self._output or (kept[-1].parent if kept else "the results store")
        ports.ui.say(f"images:        {len(kept)} in {where}")
        if self._num_there:
            ports.ui.say(f"passed over:   {self._num_there} that were there already")
        if self._num_bad:
            ports.ui.warn(f"{self._num_bad} of {len(found)} could not be used; see above")

    def _read(self, found: Mapping[Path, Path]) -> Iterator[IGDT]:
        """One picture at a time; a bad file is named and passed over."""
        ui, stage, total = self._ports.ui, self._task.stage, len(found)
        for done, (path, inside) in enumerate(found.items()):
            ui.watch(ProgressEvent(stage=stage, done=done, total=total, note=path.name))
            try:
                place = self._free_place(path, inside)
                picture = None if place is None else self._task.read(path)
            except AtelierError as error:
                ui.warn(str(error))
                self._num_bad += 1
                continue
            if place is None or picture is None:
                self._num_there += 1
                continue
            self._taken.add(str(place).casefold())
            self._places.append(place)
            yield picture
        ui.watch(ProgressEvent(stage=stage, done=total, total=total))
        if found and self._num_bad == total:
            raise AtelierError(
                f"{stage}: nothing could be made of any of these files; what is wrong with each is "
                "said above"
            )

    def _keep(self, image: IODT) -> Path:
        place = self._places.popleft()
        if self._output is None:
            return self._ports.results_store.keep(image, "").path
        write_bytes(place, image.data)
        return place

    def _free_place(self, path: Path, inside: Path) -> Path | None:
        """The first name that nothing has; None where this picture's result has it."""
        file = _file_origin(path)
        if self._output is None:
            return None if (file.name, file.sha256) in self._stored else path
        for number in count(1):
            name = f"{path.stem}{f'-{number}' if number > 1 else ''}{self._suffix}"
            place = self._output / inside / name
            if str(place).casefold() in self._taken:
                continue
            if not place.exists():
                return place
            if self._file_in(place) == file:
                self._taken.add(str(place).casefold())
                return None
        raise AssertionError("numbers do not end")

    @cached_property
    def _stored(self) -> set[tuple[str, str]]:
        """Name and digest of the files whose results are in the store."""
        of_no_run = self._ports.results_store.find(ResultQuery(run="", limit=1_000_000))
        files = (self._file_of(result.record) for result in of_no_run if result.path.exists())
        return {(file.name, file.sha256) for file in files if file is not None}

    def _is_own_result(self, path: Path, inside: Path) -> bool:
        """Whether a picture is only met because the folder written to lies in the one read."""
        if self._output is None or not path.resolve().is_relative_to(self._output.resolve()):
            return False
        named = path.parents[len(inside.parts)].resolve()
        is_inside = not named.is_relative_to(self._output.resolve())
        return is_inside or self._file_in(path) is not None

    def _file_in(self, path: Path) -> FileOrigin | None:
        try:
            return self._file_of(self._read_record(path))
        except AtelierError:
            return None  # anybody's

    def _file_of(self, record: Record) -> FileOrigin | None:
        """The file that a result was made of; None where these settings give another result."""
        asked, done = self._task.enhance, record.enhancement
        if record.conversion != self._conversion:
            return None
        is_computed_so = asked.route == "auto" or done.route in (None, asked.route)
        is_planned_so = done.model_copy(update={"route": None}) in self._planned
        is_enlarged_so = is_computed_so and is_planned_so
        return self._task.file_of(record.origin) if is_enlarged_so else None

    @cached_property
    def _conversion(self) -> dict[str, object]:
        """What the record of a picture encoded with these settings says."""
        return self._task.convert.model_dump(mode="json", exclude={"schema_version"})


def _plans(enhancer: Enhancer, settings: IES, pixels: int) -> tuple[EnhancementRecord, ...]:
    """The records of results that need not be made again: this request's, and a single file's.

    An enhancer may give a single file a better network than it can give a folder of them.
    """
    return enhancer.planned(settings, pixels), enhancer.planned(settings)


def _pixels_of(path: Path) -> int:
    """Pixels of a picture by its header; 0 where it has none that can be read."""
    try:
        with Image.open(path) as image:
            return image.width * image.height
    except Exception:  # decoders raise nearly anything; reading the file will name it
        return 0


def _file_origin(path: Path) -> FileOrigin:
    try:
        return FileOrigin(name=path.name, sha256=sha256_of(path))
    except OSError as error:
        raise AtelierError(f"{path}: cannot be read ({error.strerror})") from error
