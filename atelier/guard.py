"""Guards: what a component returns is checked, as it comes, against what its port promises.

Each guard has the methods of one port and hands every call on. A broken promise is an
`AtelierError` in one line that names the component and the promise. Where a replaced component
fails in another way, that is said in one line too; a fault of our own keeps its traceback.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from interfaces.capabilities import Capabilities
from interfaces.contract import explain
from interfaces.errors import AtelierError, DamagedError
from interfaces.ics import ICS
from interfaces.iedt import IEDT, LOOK_AHEAD, Enhancer
from interfaces.ies import IES
from interfaces.igdt import IGDT, ImageGenerator
from interfaces.igme import IGME, Trainer, TrainingSettings
from interfaces.igs import IGS
from interfaces.iodt import IODT, SUFFIXES, Converter, ResultsStore, StoredResult, check_conversion
from interfaces.ipdt import IPDT, PreprocessingSettings, Preprocessor
from interfaces.itdt import ITDT, CollectionSettings, TrainingStore
from interfaces.jobs import Stopped
from interfaces.places import size_of
from interfaces.progress import Progress, silent
from interfaces.record import EnhancementRecord, GeneratedOrigin, Origin, published

_Message = TypeVar("_Message", bound=BaseModel)
_Item = TypeVar("_Item")


class BrokenPromiseError(DamagedError):
    """A component does not keep what its port promises."""


@dataclass(frozen=True)
class Component:
    """Component that a guard watches: name in the diagram, and where a replacement comes from."""

    name: str
    place: str
    is_ours: bool
    capabilities: Capabilities

    def __str__(self) -> str:
        return f"component {self.name} ({self.place})"

    def broke(self, promise: str) -> BrokenPromiseError:
        """The error for a promise that was not kept."""
        return BrokenPromiseError(f"{self}: {promise}")

    @contextmanager
    def called(self) -> Generator[None]:
        """Wrap a call: an exception of foreign code becomes one line."""
        try:
            yield
        except (AtelierError, Stopped, MemoryError):
            raise
        except ValidationError as error:
            if self.is_ours:
                raise
            raise self.broke(explain(error, f"made an invalid {error.title}")) from error
        except Exception as error:
            if self.is_ours:
                raise
            raise self.broke(f"failed ({type(error).__name__}: {error})") from error

    def message(self, found: object, kind: type[_Message]) -> _Message:
        """`found`, once it is known to be a valid message of this kind."""
        if not isinstance(found, kind):
            raise self.broke(f"gave a {type(found).__name__} where a {kind.__name__} is due")
        try:
            values = {name: getattr(found, name) for name in kind.model_fields}
            return kind.model_validate(values)
        except AttributeError as error:
            raise self.broke(f"gave a {kind.__name__} without {error.name}") from error
        except ValidationError as error:
            raise self.broke(explain(error, f"gave an invalid {kind.__name__}")) from error

    def items(self, found: Iterable[_Item]) -> Iterator[_Item]:
        """The items of an iterator, one by one. Raises where it is not an iterator."""
        if not isinstance(found, Iterator):
            raise self.broke(f"gave a {type(found).__name__} where an iterator is due")
        while True:
            with self.called():
                try:
                    item = next(found)
                except StopIteration:
                    return
            yield item


class _Declaring:
    """A guard that passes on the capabilities that its component declares."""

    component: Component

    @property
    def capabilities(self) -> Capabilities:
        """As the component itself."""
        return self.component.capabilities


@dataclass(frozen=True)
class GuardedStore:
    """A training store whose collections are checked."""

    inner: TrainingStore
    component: Component

    def collect(self, settings: CollectionSettings, progress: Progress) -> ITDT:
        """As the store itself."""
        with self.component.called():
            found = self.inner.collect(settings, progress)
        collection = self.component.message(found, ITDT)
        if collection.num_images == 0:
            raise self.component.broke("gave a collection without an image")
        return collection


@dataclass(frozen=True)
class GuardedPreprocessor(_Declaring):
    """A preprocessor whose prepared sets are checked."""

    inner: Preprocessor
    component: Component

    def preprocess(
        self, collection: ITDT, settings: PreprocessingSettings, progress: Progress
    ) -> IPDT:
        """As the preprocessor itself."""
        with self.component.called():
            found = self.inner.preprocess(collection, settings, progress)
        prepared = self.component.message(found, IPDT)
        if prepared.resolution != settings.resolution:
            raise self.component.broke(
                f"prepared {prepared.resolution} pixels where {settings.resolution} were asked for"
            )
        if prepared.transform != self.component.capabilities.transform:
            raise self.component.broke(
                f"says that it did {prepared.transform!r} to the pictures, but declares "
                f"{self.component.capabilities.transform!r}"
            )
        if prepared.num_images > collection.num_images:
            raise self.component.broke(
                f"prepared {prepared.num_images} images of {collection.num_images}"
            )
        return prepared


@dataclass(frozen=True)
class GuardedTrainer(_Declaring):
    """A trainer whose models are checked."""

    inner: Trainer
    component: Component

    def train(
        self, prepared: IPDT, settings: TrainingSettings, run: Path, progress: Progress
    ) -> IGME:
        """As the trainer itself."""
        self.component.capabilities.check_family(str(self.component), settings.family)
        with self.component.called():
            found = self.inner.train(prepared, settings, run, progress)
        model = self.component.message(found, IGME)
        if model.directory.resolve() != (run / "model").resolve():
            raise self.component.broke(
                f"left its model in {model.directory}, not in {run / 'model'}"
            )
        if model.resolution != prepared.resolution:
            raise self.component.broke(
                f"learnt {prepared.resolution} pixels, but its model makes {model.resolution}"
            )
        if model.dataset_digest != prepared.digest:
            raise self.component.broke("its model names another collection than it learnt from")
        with self.component.called():
            kept = IGME.open(model.directory)
        if kept.digest != model.digest:
            raise self.component.broke("what it returned is not what it left in the model's folder")
        return model


@dataclass(frozen=True)
class GuardedGenerator(_Declaring):
    """A generator whose pictures are checked."""

    inner: ImageGenerator
    component: Component

    def generate(self, model: IGME, settings: IGS, progress: Progress = silent) -> Iterator[IGDT]:
        """As the generator itself."""
        self.component.capabilities.check_family(str(self.component), model.family)
        with self.component.called():
            batches = self.inner.generate(model, settings, progress)
        return self._checked(batches, model, settings)

    def planned(self, model: IGME, settings: IGS) -> GeneratedOrigin:
        """As the generator itself."""
        self.component.capabilities.check_family(str(self.component), model.family)
        with self.component.called():
            found = self.inner.planned(model, settings)
        return self.component.message(found, GeneratedOrigin)

    def _checked(self, batches: Iterator[IGDT], model: IGME, settings: IGS) -> Iterator[IGDT]:
        seeds, place = settings.chosen_seeds, settings.skip
        for found in self.component.items(batches):
            batch = self.component.message(found, IGDT)
            self._check_size(batch, model, settings)
            for origin in batch.origins:
                self._check_origin(origin, model, seeds, place)
                place += 1
            yield batch
        if place < len(seeds):
            raise self.component.broke(f"gave {place} of {len(seeds)} pictures and no more")

    def _check_size(self, batch: IGDT, model: IGME, settings: IGS) -> None:
        side, (height, width) = model.resolution, batch.images.shape[2:]
        if settings.source is None and (height, width) != (side, side):
            raise self.component.broke(
                f"gave pictures of {width}x{height} pixels; the model makes {side}x{side}"
            )

    def _check_origin(
        self, origin: Origin, model: IGME, seeds: tuple[int, ...], place: int
    ) -> None:
        if place == len(seeds):
            raise self.component.broke(f"gave more than the {len(seeds)} pictures asked for")
        if origin.kind != "generated":
            raise self.component.broke("called a picture that it made a person's own file")
        if origin.seed != seeds[place]:
            raise self.component.broke(
                f"gave seed {origin.seed} where seed {seeds[place]} was due: pictures come in the "
                "order of their seeds"
            )
        if origin.index != place:
            raise self.component.broke(f"called picture {place} of the request {origin.index}")
        if (origin.model_digest, origin.family) != (model.digest, model.family):
            raise self.component.broke("named another model's digest or family than it was given")


@dataclass(frozen=True)
class GuardedEnhancer(_Declaring):
    """An enhancer whose enlargements are checked against what went in."""

    inner: Enhancer
    component: Component

    def enhance(
        self,
        batches: Iterable[IGDT],
        settings: IES,
        progress: Progress = silent,
        pixels: int | None = None,
    ) -> Iterator[IEDT]:
        """As the enhancer itself."""
        self.component.capabilities.check_scale(str(self.component), settings.scale)
        taken: list[IGDT] = []
        with self.component.called():
            enlarged = self.inner.enhance(self._taken(batches, taken), settings, progress, pixels)
        return self._checked(enlarged, taken, settings)

    def planned(self, settings: IES, pixels: int | None = None) -> EnhancementRecord:
        """As the enhancer itself."""
        self.component.capabilities.check_scale(str(self.component), settings.scale)
        with self.component.called():
            found = self.inner.planned(settings, pixels)
        return self.component.message(found, EnhancementRecord)

    def _taken(self, batches: Iterable[IGDT], taken: list[IGDT]) -> Iterator[IGDT]:
        """The batches that go in, remembered until they come out."""
        for batch in batches:
            taken.append(batch)
            if len(taken) > LOOK_AHEAD:
                raise self.component.broke(
                    f"took {len(taken)} batches and gave none back; at most {LOOK_AHEAD} are held"
                )
            yield batch

    def _checked(
        self, enlarged: Iterator[IEDT], taken: list[IGDT], settings: IES
    ) -> Iterator[IEDT]:
        for found in self.component.items(enlarged):
            batch = self.component.message(found, IEDT)
            if not taken:
                raise self.component.broke("gave a batch more than it was given")
            self._check(batch, taken.pop(0), settings.scale)
            yield batch
        if taken:
            raise self.component.broke(f"kept {sum(map(len, taken))} pictures back")

    def _check(self, after: IEDT, before: IGDT, scale: int) -> None:
        broke = self.component.broke
        if after.enhancement.scale != scale:
            raise broke(f"says that it enlarged by {after.enhancement.scale}, not by {scale}")
        height, width = (side * scale for side in before.images.shape[2:])
        if after.images.shape[2:] != (height, width):
            found = "x".join(map(str, after.images.shape[:1:-1]))
            raise broke(f"gave pictures of {found} pixels; x{scale} makes {width}x{height}")
        if after.origins != before.origins:
            raise broke("changed the order of the pictures, or where they came from")
        if (after.alpha is None) != (before.alpha is None):
            raise broke("dropped or invented the opacity of a picture")
        if after.carried != before.carried:
            raise broke("changed what a person's own file carries")
        if _are_swapped(before.images, after.images):
            raise broke("swapped pictures: an enlargement shows another picture of its batch")


def _are_swapped(before: NDArray[np.float32], after: NDArray[np.float32]) -> bool:
    """Whether enlargements (N, 3, sH, sW) show one another's pictures (N, 3, H, W), in a circle.

    One shows another's picture where it is less than half as far from that as from its own. A
    single such enlargement may be chance among pictures that are nearly alike; a circle is not.
    """
    if len(before) == 1:
        return False
    scale = after.shape[2] // before.shape[2]
    small = after[:, :, scale // 2 :: scale, scale // 2 :: scale]
    coarse = [images.reshape(len(images), -1)[:, ::7] for images in (before, small)]
    apart = np.abs(coarse[1][:, None] - coarse[0][None]).mean(axis=2)  # (after, before)
    own = apart.diagonal()
    is_nearer = apart < own[:, None] / 2
    leads_on = is_nearer.any(axis=1)
    while leads_on.any():  # each round leaves out those that lead nowhere; circles remain
        still = (is_nearer & leads_on).any(axis=1)
        if (still == leads_on).all():
            return True
        leads_on = still
    return False


@dataclass(frozen=True)
class GuardedConverter(_Declaring):
    """A converter whose files are checked against what went in.

    A replacement's are read once more: each must carry the record that it was given.
    """

    inner: Converter
    component: Component

    def check(self, settings: ICS) -> None:
        """As the converter itself, where it can be asked."""
        with self.component.called():
            check_conversion(self.inner, settings)

    def convert(self, batches: Iterable[IEDT], settings: ICS) -> Iterator[IODT]:
        """As the converter itself."""
        self.component.capabilities.check_format(str(self.component), settings.format)
        due: list[tuple[IEDT, int]] = []
        with self.component.called():
            encoded = self.inner.convert(_images(batches, due), settings)
        return self._checked(encoded, due, settings)

    def _checked(
        self, encoded: Iterator[IODT], due: list[tuple[IEDT, int]], settings: ICS
    ) -> Iterator[IODT]:
        for found in self.component.items(encoded):
            image = self.component.message(found, IODT)
            if not due:
                raise self.component.broke("gave an image more than it was given")
            self._check(image, *due.pop(0), settings)
            yield image
        if due:
            raise self.component.broke(f"kept {len(due)} images back")

    def _check(self, image: IODT, batch: IEDT, place: int, settings: ICS) -> None:
        height, width = batch.images.shape[2:]
        record = image.record
        if (image.width, image.height) != (width, height):
            raise self.component.broke(
                f"says {image.width}x{image.height} pixels of a picture of {width}x{height}"
            )
        origin = batch.origins[place]
        wanted = published(origin) if settings.publish else origin
        if record.origin != wanted or record.enhancement != batch.enhancement:
            raise self.component.broke("its record names another picture or enlargement")
        # A person's own file may be a picture that a model made before.
        if record.origin.kind == "generated" and not record.is_ai_generated:
            raise self.component.broke("its record does not say that a model made the picture")
        if not self.component.is_ours:
            self._check_file(image)

    def _check_file(self, image: IODT) -> None:
        from components.conversion import record_inside  # it brings Pillow

        if image.media_type not in SUFFIXES:
            return  # a format of its own, which only it can read

        try:
            record = record_inside(image.data)
        except AtelierError as error:
            raise self.component.broke(f"gave a file that carries no record ({error})") from error
        if record != image.record:
            raise self.component.broke("gave a file that carries another record than it says")


def _images(batches: Iterable[IEDT], due: list[tuple[IEDT, int]]) -> Iterator[IEDT]:
    """The batches that go in, whose images must all come out."""
    for batch in batches:
        due += [(batch, place) for place in range(len(batch))]
        yield batch


def keep(store: ResultsStore, image: IODT, run: str) -> StoredResult:
    """Keep an image. Raises `BrokenPromiseError` where the store kept something else."""
    result = store.keep(image, run)
    if fault := fault_of_kept(result, image, run):
        raise BrokenPromiseError(f"component results_store: {fault}")
    return result


def fault_of_kept(result: object, image: IODT, run: str) -> str | None:
    """Fault in a store's answer to `keep`; None where it kept what it was given."""
    if not isinstance(result, StoredResult):
        return f"gave a {type(result).__name__} where a StoredResult is due"
    if result.sha256 != image.sha256:
        return "what it says it kept is another image"
    if result.run != run:
        return f"says that it kept the image for run {result.run!r}, not {run!r}"
    if size_of(result.path) is None:
        return f"kept no file at {result.path}"
    return None
