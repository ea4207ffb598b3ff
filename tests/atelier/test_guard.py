"""Guards beyond the wrong replacements of `tests/contracts/test_wrong.py`."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atelier.assembly import assemble
from atelier.contracts.samples import make_igdt, make_iodt
from atelier.guard import Component, GuardedEnhancer, keep
from atelier.guard_results import GuardedResultsStore
from components.conversion import read_facts
from interfaces.capabilities import Capabilities
from interfaces.errors import AtelierError, DamagedError
from interfaces.iedt import IEDT
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.iodt import (
    IODT,
    Movable,
    Rebuildable,
    ResultQuery,
    ResultsGallery,
    ResultsStore,
    SeedFinder,
    StoredResult,
)
from interfaces.progress import Progress, silent
from tests.contracts.wrong import Nearest, Store
from tests.helpers import REPOSITORY


class Shuffled(Nearest):
    """Gives the pictures of a batch in another order, a little changed."""

    def __init__(self, order: list[int]) -> None:
        self.order = order

    def enlarged(self, batch: IGDT, settings: IES) -> IEDT:
        honest = super().enlarged(batch, settings)
        noise = np.random.default_rng(0).normal(0, 0.02, honest.images.shape)
        images = np.clip(honest.images[self.order] + noise, -1, 1).astype(np.float32)
        return honest.model_copy(update={"images": images})


@given(st.integers(1, 6).flatmap(lambda n: st.permutations(range(n))), st.sampled_from([1, 4]))
def test_any_other_order_of_pictures_is_found(order: list[int], scale: int) -> None:
    guard = GuardedEnhancer(
        Shuffled(order), Component("enhancement", "mine:create", False, Capabilities())
    )
    enlarged = guard.enhance([make_igdt(len(order), 8)], IES(scale=scale))
    if order == sorted(order):
        assert len(list(enlarged)) == 1
    else:
        with pytest.raises(AtelierError, match="swapped pictures"):
            next(enlarged)


def test_alike_pictures_are_not_called_swapped() -> None:
    """A collapsed model gives one picture again and again; its noise makes none another's."""
    one = make_igdt(1, 8)
    same = np.repeat(one.images, 6, axis=0)
    batch = IGDT(images=same, origins=make_igdt(6, 8).origins)
    guard = GuardedEnhancer(
        Shuffled(list(range(6))), Component("enhancement", "mine:create", False, Capabilities())
    )
    assert len(list(guard.enhance([batch], IES(scale=4)))) == 1


class Undeclared(Nearest):
    """Declares something else than capabilities."""

    capabilities = (1, 4)


def test_what_is_declared_is_checked_at_the_start(tmp_path: Path) -> None:
    place = "tests.atelier.test_guard:Undeclared"
    with pytest.raises(AtelierError) as refusal:
        assemble(tmp_path, {"enhancement": place})
    assert str(refusal.value) == (
        f"component enhancement ({place}): its attribute capabilities is a tuple; declare an "
        "interfaces.capabilities.Capabilities"
    )


class Forgetful:
    """A results store that says it kept one image at one place, whatever it is given."""

    def __init__(self, image: IODT, path: Path) -> None:
        row = image.model_dump(exclude={"data", "schema_version"})
        self.row = StoredResult(
            **row, id=1, path=path, run="0001-a", kept_at=datetime(2026, 1, 2, tzinfo=UTC)
        )

    def keep(self, image: IODT, run: str) -> StoredResult:
        return self.row

    def find(self, query: ResultQuery) -> list[StoredResult]:
        return [self.row]

    def get(self, result_id: int) -> StoredResult:
        return self.row


class Silent(Forgetful):
    """Answers nothing at all."""

    def keep(self, image: IODT, run: str) -> StoredResult:
        return None  # type: ignore[return-value]


def test_a_store_must_have_kept_what_it_was_given(tmp_path: Path) -> None:
    image, file = make_iodt(), tmp_path / "0.png"
    store = Forgetful(image, file)
    with pytest.raises(DamagedError, match=r"^component results_store: kept no file at "):
        keep(store, image, "0001-a")
    file.write_bytes(image.data)
    assert keep(store, image, "0001-a") is store.row
    with pytest.raises(DamagedError, match=r"^component results_store: .* is another image$"):
        keep(store, make_iodt(seed=1), "0001-a")
    with pytest.raises(DamagedError, match=r"kept the image for run '0001-a', not '0002-b'$"):
        keep(store, image, "0002-b")
    with pytest.raises(DamagedError, match=r"gave a NoneType where a StoredResult is due$"):
        keep(Silent(image, file), image, "0001-a")


class Bare(Store):
    """The port, and no more."""


class WithSeeds(Store):
    """The port, and the seeds of a run."""

    def kept_seeds(self, run: str, model_digest: str, seeds: Sequence[int]) -> dict[int, int]:
        return dict.fromkeys((*seeds, 99), 1)


class WithMove(Store):
    """The port, and another place for the files."""

    def move(self, place: str, progress: Progress) -> int:
        return -1


class WithAll(Store):
    """Whatever ours offers, by delegation in its constructor."""

    def __init__(self, workspace: Path) -> None:
        super().__init__(workspace)
        for name in FURTHER:
            setattr(self, name, getattr(self.ours, name))


FURTHER = (
    *("kept_seeds", "page", "count", "numbers", "read", "delete", "restore", "purge"),
    *("move", "rebuild"),
)
PROTOCOLS = (SeedFinder, ResultsGallery, Movable, Rebuildable)


@pytest.mark.parametrize("factory", ["Bare", "WithSeeds", "WithMove", "WithAll"])
def test_a_guarded_store_offers_what_the_store_offers(factory: str, tmp_path: Path) -> None:
    place = f"tests.atelier.test_guard:{factory}"
    guarded = assemble(tmp_path, {"results_store": place}).results_store
    bare = globals()[factory](tmp_path)
    assert isinstance(guarded, GuardedResultsStore)
    assert isinstance(guarded, ResultsStore)
    for protocol in PROTOCOLS:
        assert isinstance(guarded, protocol) == isinstance(bare, protocol)


def test_ours_offers_all_of_it(tmp_path: Path) -> None:
    store = assemble(tmp_path).results_store
    assert all(isinstance(store, protocol) for protocol in PROTOCOLS)


def test_a_guarded_store_gives_what_the_store_gives(tmp_path: Path) -> None:
    place = "tests.atelier.test_guard:WithAll"
    store = assemble(tmp_path, {"results_store": place}).results_store
    kept = [store.keep(make_iodt(seed), "run") for seed in range(3)]
    assert isinstance(store, SeedFinder)
    assert isinstance(store, ResultsGallery)
    assert isinstance(store, Rebuildable)
    query = ResultQuery(run="run", limit=2)
    assert store.find(query) == list(store.page(query).results) == kept[:0:-1]
    assert (store.count(query), store.numbers(query)) == (3, [3, 2, 1])
    assert store.read(1) == make_iodt(0).data
    assert (store.delete([1]), store.restore([1]), store.purge(timedelta(1))) == (1, 1, 0)
    assert store.rebuild(read_facts, silent).num_listed == 3
    model = kept[0].record.origin.model_dump()["model_digest"]
    assert store.kept_seeds("run", model, [0, 2, 9]) == {0: 1, 2: 3}


def test_what_a_store_offers_besides_is_checked(tmp_path: Path) -> None:
    for factory, line in (("WithSeeds", "named seed 99, which was"), ("WithMove", "gave -1 where")):
        place = f"tests.atelier.test_guard:{factory}"
        store = assemble(tmp_path, {"results_store": place}).results_store
        with pytest.raises(DamagedError) as refusal:
            if isinstance(store, SeedFinder):
                store.kept_seeds("run", "0" * 64, [1])
            elif isinstance(store, Movable):
                store.move("here", silent)
        assert str(refusal.value).startswith(f"component results_store ({place}): {line}")


@pytest.mark.parametrize("folder", ["atelier/handlers", "atelier/own_files"])
def test_nothing_is_kept_past_the_check(folder: str) -> None:
    found = [path.read_text(encoding="utf-8") for path in (REPOSITORY / folder).glob("*.py")]
    assert any("guard.keep(" in text for text in found)
    assert not any("results_store.keep(" in text for text in found)
