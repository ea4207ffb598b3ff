"""Guards beyond the wrong replacements of `tests/contracts/test_wrong.py`."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atelier.assembly import assemble
from atelier.contracts.samples import make_igdt
from atelier.guard import Component, GuardedEnhancer
from interfaces.capabilities import Capabilities
from interfaces.errors import AtelierError
from interfaces.iedt import IEDT
from interfaces.ies import IES
from interfaces.igdt import IGDT
from tests.contracts.wrong import Nearest


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
