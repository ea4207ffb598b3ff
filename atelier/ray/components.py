"""The three components that a cluster's workers carry out, behind their ports.

Settings, models and certificates are checked on the machine in front before a worker is asked, and
what that machine measured (which network, on which route) holds for all: so the pictures are those
of one process.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from atelier.ray.crew import Crew, check_cluster, crew
from components import conversion, enhancement, generation
from components.common.credentials.places import credential_files
from components.families import FAMILIES
from interfaces.arrays import Floats, hand_over, is_array
from interfaces.batch import ImageBatch
from interfaces.contract import Contract
from interfaces.errors import RefusedError
from interfaces.ics import ICS
from interfaces.iedt import IEDT
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.iodt import IODT, check_conversion
from interfaces.places import expanded
from interfaces.progress import Progress, silent
from interfaces.record import EnhancementRecord, GeneratedOrigin

if TYPE_CHECKING:
    from atelier.ray.worker import Encoding, Enlarging, Generating

MADE_AT_ONCE = 8
"""Pictures that a worker makes together: networks take eight at a time, whatever is asked."""

ENLARGED_AT_ONCE = 16
"""Pictures that a worker enlarges or encodes together, at most."""

BATCH = 64
"""Pictures handed on together where nobody says how many."""

_PROBE_SIDE = 64
"""Pixels; a corner of a picture is enough to choose the routes by."""

_Batch = TypeVar("_Batch", bound=ImageBatch)
_Contract = TypeVar("_Contract", bound=Contract)


class RayGenerator:
    """Generates on a cluster. The port is `interfaces.igdt.ImageGenerator`."""

    def __init__(self, workspace: Path) -> None:
        check_cluster()  # before a run has its folder
        self._here = generation.create(workspace)

    def generate(self, model: IGME, settings: IGS, progress: Progress = silent) -> Iterator[IGDT]:
        """One image a seed, in order, `settings.batch_size` of them (or `BATCH`) in a batch."""
        self._here.generate(model, settings, progress)  # checks all that can be wrong
        return self._batches(_absolute(model), _absolute(settings), progress)

    def planned(self, model: IGME, settings: IGS) -> GeneratedOrigin:
        """Origin that a single process would plan: see the port."""
        return self._here.planned(model, settings)

    def _batches(self, model: IGME, settings: IGS, progress: Progress) -> Iterator[IGDT]:
        workers, place = crew(), settings.skip
        for messages in workers.in_order(_generating(model, settings, workers), progress):
            batch = _joined([IGDT.from_bytes(message) for message in messages])
            origins = [
                origin.model_copy(update={"index": place + n})
                for n, origin in enumerate(batch.origins)
            ]
            yield batch.model_copy(update={"origins": tuple(origins)})
            place += len(batch)


def _generating(model: IGME, settings: IGS, workers: Crew) -> Iterator[list["Generating"]]:
    """The works of each batch."""
    from atelier.ray.worker import Generating

    alone = FAMILIES[model.family].one_by_one
    size = MADE_AT_ONCE if alone.isdisjoint({*settings.given, *settings.options}) else 1
    known, files, threads = model.to_bytes(), workers.files_of(model), _threads()
    for seeds in _slices(settings.chosen_seeds[settings.skip :], settings.batch_size or BATCH):
        yield [
            Generating(known, files, _asking_for(settings, some).to_bytes(), threads)
            for some in _slices(seeds, size)
        ]


def _threads() -> int:
    """Number of threads that torch computes with in this process."""
    import torch

    return torch.get_num_threads()


def _asking_for(settings: IGS, seeds: Sequence[int]) -> IGS:
    return settings.model_copy(update={"seeds": seeds, "skip": 0, "batch_size": len(seeds)})


class RayEnhancer:
    """Enlarges on a cluster. The port is `interfaces.iedt.Enhancer`."""

    def __init__(self, workspace: Path) -> None:
        check_cluster()
        self._here = enhancement.create(workspace)

    def enhance(
        self,
        batches: Iterable[IGDT],
        settings: IES,
        progress: Progress = silent,
        pixels: int | None = None,
    ) -> Iterator[IEDT]:
        """Enlarge lazily, the pictures of a batch shared out among the workers; see the port.

        Networks and routes are chosen on this machine, with a corner of the first picture. Raises
        `RefusedError` where a machine of the cluster enlarges otherwise, as one with a GPU might.
        """
        self._here.enhance((), settings, progress, pixels)  # checks all that can be wrong
        return self._enlarged(batches, _absolute(settings), progress, pixels)

    def planned(self, settings: IES, pixels: int | None = None) -> EnhancementRecord:
        """Record that a single process would plan: see the port."""
        return self._here.planned(settings, pixels)

    def _enlarged(
        self, batches: Iterable[IGDT], settings: IES, progress: Progress, pixels: int | None
    ) -> Iterator[IEDT]:
        records: dict[bool, EnhancementRecord] = {}

        def works(batch: IGDT) -> list["Enlarging"]:
            if _is_made(batch) not in records:
                records[_is_made(batch)] = self._probed(batch, settings, pixels)
            return _enlarging(batch, settings, pixels)

        for messages in crew().in_order(map(works, batches), progress):
            parts = [IEDT.from_bytes(message) for message in messages]
            for part in parts:
                _check_same(part.enhancement, records[_is_made(part)])
            yield _joined(parts)

    def _probed(self, batch: IGDT, settings: IES, pixels: int | None) -> EnhancementRecord:
        """Let this machine choose the routes => what the records will say."""
        corner = batch.images[:1, :, :_PROBE_SIDE, :_PROBE_SIDE]
        probe = IGDT(images=corner, origins=batch.origins[:1])
        (enlarged,) = self._here.enhance([probe], settings, silent, pixels)
        return enlarged.enhancement


def _is_made(batch: ImageBatch) -> bool:
    return all(origin.kind != "file" for origin in batch.origins)


def _enlarging(batch: IGDT, settings: IES, pixels: int | None) -> list["Enlarging"]:
    from atelier.ray.worker import Enlarging
    from components.common.remembering import answers

    known, measured, threads = settings.to_bytes(), answers(), _threads()
    parts = _parts(batch, ENLARGED_AT_ONCE)
    return [Enlarging(part.to_bytes(), known, pixels, measured, threads) for part in parts]


def _check_same(found: EnhancementRecord, wanted: EnhancementRecord) -> None:
    differing = [name for name, value in found if value != getattr(wanted, name)]
    if differing:
        named = ", ".join(
            f"{name} {getattr(found, name)} for {getattr(wanted, name)}" for name in differing
        )
        raise RefusedError(
            f"Ray: a machine of the cluster enlarges otherwise than this one ({named}); name the "
            "network and the route (--enhancer, --route), or use machines that are alike"
        )


class RayConverter:
    """Encodes on a cluster. The port is `interfaces.iodt.Converter`."""

    def __init__(self, workspace: Path) -> None:
        check_cluster()
        self._here = conversion.create(workspace)

    def check(self, settings: ICS) -> None:
        """Check as a single process would: see `interfaces.iodt.CheckingConverter`."""
        check_conversion(self._here, settings)

    def convert(self, batches: Iterable[IEDT], settings: ICS) -> Iterator[IODT]:
        """Encode every image, in order; each machine signs with a copy of this one's certificate.

        Raises `AtelierError` where a machine of the cluster has another one, or none.
        """
        from atelier.ray.worker import Encoding

        certificate, known = self._certificate(settings), settings.to_bytes()

        def works(batch: IEDT) -> list["Encoding"]:
            parts = _parts(batch, ENLARGED_AT_ONCE)
            return [Encoding(part.to_bytes(), known, certificate) for part in parts]

        for messages in crew().in_order(map(works, batches), silent):
            yield from map(IODT.from_bytes, messages)

    def _certificate(self, settings: ICS) -> str | None:
        """Fingerprint of the certificate that signs; one is made where there is none."""
        self.check(settings)
        if not settings.sign:
            return None
        from components.common.credentials.identity import fingerprint, open_identity

        return fingerprint(open_identity(credential_files()).certificate)


def _absolute(message: _Contract) -> _Contract:
    """The message with whole paths: a worker runs in another folder."""
    places = {
        name: expanded(value).absolute() for name, value in message if isinstance(value, Path)
    }
    return message.model_copy(update=places)


def _slices(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _parts(batch: _Batch, size: int) -> Iterator[_Batch]:
    """A batch in several, of at most `size` pictures each."""
    if len(batch) <= size:
        yield batch
        return
    for start in range(0, len(batch), size):
        places = slice(start, start + size)
        arrays = {name: array[places] for name, array in _arrays(batch).items()}
        lists = {name: items[places] for name, items in _lists(batch).items()}
        yield batch.model_copy(update=arrays | lists)


def _joined(parts: Sequence[_Batch]) -> _Batch:
    """Batches as one."""
    if len(parts) == 1:
        return parts[0]
    arrays = {
        name: hand_over(np.concatenate([_arrays(part)[name] for part in parts]))
        for name in _arrays(parts[0])
    }
    lists = {
        name: tuple(chain.from_iterable(_lists(part)[name] for part in parts))
        for name in _lists(parts[0])
    }
    return parts[0].model_copy(update=arrays | lists)


def _arrays(batch: ImageBatch) -> dict[str, Floats]:
    """The fields that are arrays over the pictures."""
    return {name: value for name, value in batch if is_array(value)}


def _lists(batch: ImageBatch) -> dict[str, tuple[object, ...]]:
    """The fields that list something for each picture: `origins`, and what else is given."""
    return {name: value for name, value in batch if isinstance(value, tuple)}
