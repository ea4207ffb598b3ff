"""Replacements that break one promise each, and honest ones that declare their limits."""

import hashlib
import io
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import components.conversion
import components.generation
import components.results_store
import components.training
from atelier.contracts.samples import digest
from components.ui import TerminalInterface
from interfaces.capabilities import Capabilities
from interfaces.errors import RefusedError
from interfaces.ics import ICS
from interfaces.iedt import IEDT
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.igme import IGME, TrainingSettings
from interfaces.igs import IGS
from interfaces.iodt import IODT, ResultQuery, StoredResult
from interfaces.ipdt import IPDT
from interfaces.progress import Progress, ProgressEvent, silent
from interfaces.record import EnhancementRecord, GeneratedOrigin
from interfaces.ui import Choices


def _unchecked(batch: IGDT, **changed: Any) -> IGDT:
    """A message that no check has seen, as careless code makes it."""
    return type(batch).model_construct(**(dict(batch) | changed))


# ---------------------------------------------------------------- enhancement


class Nearest:
    """An honest enhancer: every pixel repeated."""

    def __init__(self, workspace: Path) -> None:
        pass

    def planned(self, settings: IES, pixels: int | None = None) -> EnhancementRecord:
        if settings.weights is not None:
            raise RefusedError(f"{settings.weights}: this enhancer has no weights")
        return EnhancementRecord(
            enhancer="nearest", weights_sha256=None, scale=settings.scale, strength=0.0
        )

    def enhance(
        self,
        batches: Iterable[IGDT],
        settings: IES,
        progress: Progress = silent,
        pixels: int | None = None,
    ) -> Iterator[IEDT]:
        self.planned(settings)
        return (self.enlarged(batch, settings) for batch in batches)

    def enlarged(self, batch: IGDT, settings: IES) -> IEDT:
        def repeated(planes: NDArray[np.float32]) -> NDArray[np.float32]:
            return planes.repeat(settings.scale, axis=2).repeat(settings.scale, axis=3)

        return IEDT(
            images=repeated(batch.images),
            origins=batch.origins,
            alpha=None if batch.alpha is None else repeated(batch.alpha),
            carried=batch.carried,
            enhancement=self.planned(settings),
        )


class WrongShape(Nearest):
    def enlarged(self, batch: IGDT, settings: IES) -> IEDT:
        return IEDT(**dict(batch), enhancement=self.planned(settings))


class Swapped(Nearest):
    def enlarged(self, batch: IGDT, settings: IES) -> IEDT:
        honest = super().enlarged(batch, settings)
        return honest.model_copy(update={"images": np.roll(honest.images, 1, axis=0)})


class LieAboutScale(Nearest):
    def enlarged(self, batch: IGDT, settings: IES) -> IEDT:
        honest = super().enlarged(batch, settings)
        lie = honest.enhancement.model_copy(update={"scale": 16 if settings.scale == 4 else 4})
        return honest.model_copy(update={"enhancement": lie})


class Raising(Nearest):
    def enlarged(self, batch: IGDT, settings: IES) -> IEDT:
        raise IndexError("list index out of range")


class ListForIterator(Nearest):
    def enhance(
        self,
        batches: Iterable[IGDT],
        settings: IES,
        progress: Progress = silent,
        pixels: int | None = None,
    ) -> Any:
        return list(super().enhance(batches, settings))


class Hoarding(Nearest):
    """Takes every batch before it gives one back."""

    def enhance(
        self,
        batches: Iterable[IGDT],
        settings: IES,
        progress: Progress = silent,
        pixels: int | None = None,
    ) -> Iterator[IEDT]:
        yield from super().enhance(list(batches), settings)


class Stalled(Nearest):
    def enlarged(self, batch: IGDT, settings: IES) -> IEDT:
        while True:
            try:
                time.sleep(60)
            except Exception:  # not even this keeps it alive
                continue


class TimesFour(Nearest):
    """Honest: it cannot do ×16, and says so."""

    capabilities = Capabilities(scales=(1, 4))

    def planned(self, settings: IES, pixels: int | None = None) -> EnhancementRecord:
        assert settings.scale in (1, 4)
        return super().planned(settings)


# ---------------------------------------------------------------- generation


class Generator:
    """Ours, whose batches a subclass changes."""

    def __init__(self, workspace: Path) -> None:
        self.ours = components.generation.create(workspace)

    def planned(self, model: IGME, settings: IGS) -> GeneratedOrigin:
        return self.ours.planned(model, settings)

    def generate(self, model: IGME, settings: IGS, progress: Progress = silent) -> Iterator[IGDT]:
        return map(self.changed, self.ours.generate(model, settings))

    def changed(self, batch: IGDT) -> IGDT:
        return batch


class NotANumber(Generator):
    def changed(self, batch: IGDT) -> IGDT:
        images = batch.images.copy()
        images[-1, 0, 0, 0] = np.nan
        return IGDT(images=images, origins=batch.origins)


class Float64(Generator):
    def changed(self, batch: IGDT) -> IGDT:
        return _unchecked(batch, images=batch.images.astype(np.float64))


class WrongDigest(Generator):
    def changed(self, batch: IGDT) -> IGDT:
        other = {"model_digest": digest("another model")}
        origins = tuple(origin.model_copy(update=other) for origin in batch.origins)
        return batch.model_copy(update={"origins": origins})


class Missing(Generator):
    def generate(self, model: IGME, settings: IGS, progress: Progress = silent) -> Iterator[IGDT]:
        for batch in self.ours.generate(model, settings.model_copy(update={"batch_size": 1})):
            if batch.origins[0].model_dump()["index"] != len(settings.chosen_seeds) - 1:
                yield batch


class Surplus(Generator):
    def generate(self, model: IGME, settings: IGS, progress: Progress = silent) -> Iterator[IGDT]:
        batches = list(self.ours.generate(model, settings))
        yield from batches
        yield batches[-1]


class Endless(Generator):
    def generate(self, model: IGME, settings: IGS, progress: Progress = silent) -> Iterator[IGDT]:
        place = settings.skip
        (batch,) = self.ours.generate(model, IGS(count=1, originality=False))
        while True:
            seeds = settings.chosen_seeds
            changed = {"index": place, "seed": seeds[place] if place < len(seeds) else place}
            yield batch.model_copy(
                update={"origins": (batch.origins[0].model_copy(update=changed),)}
            )
            place += 1


# ---------------------------------------------------------------- conversion, training, results


class NoRecord:
    """Writes files that carry no record, though the message beside each has one."""

    def __init__(self, workspace: Path) -> None:
        self.ours = components.conversion.create(workspace)

    def convert(self, batches: Iterable[IEDT], settings: ICS) -> Iterator[IODT]:
        return map(_bare, self.ours.convert(batches, settings))


def _bare(image: IODT) -> IODT:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(image.data)) as picture:
        kind = str(picture.format)
        Image.fromarray(np.asarray(picture)).save(buffer, kind)
    data = buffer.getvalue()
    update = {"data": data, "sha256": hashlib.sha256(data).hexdigest()}
    return image.model_copy(update=update)


class OnlyPng:
    """Honest: it writes PNG alone, and says so."""

    capabilities = Capabilities(formats=("png",))

    def __init__(self, workspace: Path) -> None:
        self.ours = components.conversion.create(workspace)

    def convert(self, batches: Iterable[IEDT], settings: ICS) -> Iterator[IODT]:
        assert settings.format == "png"
        return self.ours.convert(batches, settings)


class Elsewhere:
    """Trains in another folder than the run's."""

    def __init__(self, workspace: Path) -> None:
        self.ours = components.training.create(workspace)

    def train(
        self, prepared: IPDT, settings: TrainingSettings, run: Path, progress: Progress
    ) -> IGME:
        return self.ours.train(prepared, settings, run.with_name("elsewhere"), progress)


class IgnoresFields:
    """A store that answers for the run and the limit, and for no other field of a query."""

    def __init__(self, workspace: Path) -> None:
        self.ours = components.results_store.create(workspace)
        self.keep, self.get = self.ours.keep, self.ours.get

    def find(self, query: ResultQuery) -> list[StoredResult]:
        return self.ours.find(ResultQuery(run=query.run, limit=query.limit))


class Store:
    """Ours, whose answers a subclass changes; it offers the port and no more."""

    def __init__(self, workspace: Path) -> None:
        self.ours = components.results_store.create(workspace)

    def keep(self, image: IODT, run: str) -> StoredResult:
        return self.ours.keep(image, run)

    def find(self, query: ResultQuery) -> list[StoredResult]:
        return self.ours.find(query)

    def get(self, result_id: int) -> StoredResult:
        return self.ours.get(result_id)


class OneForAll(Store):
    def get(self, result_id: int) -> StoredResult:
        return self.ours.get(1)


class ForgetsRuns(Store):
    def find(self, query: ResultQuery) -> list[StoredResult]:
        return [r.model_copy(update={"run": "other"}) for r in self.ours.find(query)]


class TellsTwice(Store):
    def find(self, query: ResultQuery) -> list[StoredResult]:
        return self.ours.find(query) * 2


class GeneratorForList(Store):
    def find(self, query: ResultQuery) -> list[StoredResult]:
        return iter(self.ours.find(query))  # type: ignore[return-value]


class RowForResult(Store):
    def find(self, query: ResultQuery) -> list[StoredResult]:
        return [dict(result) for result in self.ours.find(query)]  # type: ignore[misc]


class KeepsAnother(Store):
    def keep(self, image: IODT, run: str) -> StoredResult:
        self.ours.keep(image, run)
        return self.ours.get(1)


class RaisingStore(Store):
    def keep(self, image: IODT, run: str) -> StoredResult:
        raise LookupError("no room")


class RaisingGet(Store):
    """Its own error, instead of the port's, for a number that there is none of."""

    def get(self, result_id: int) -> StoredResult:
        return {result.id: result for result in self.ours.find(ResultQuery())}[result_id]


# ---------------------------------------------------------------- user interface


class Interface(TerminalInterface):
    """Ours, of which a subclass changes a method."""

    def __init__(self, workspace: Path) -> None:
        super().__init__()


class RaisingWatch(Interface):
    def watch(self, event: ProgressEvent) -> None:
        raise ZeroDivisionError("division by zero")


class AsksInVain(Interface):
    def ask(self, proposed: Choices) -> Choices:
        return None  # type: ignore[return-value]
