"""spandrel's networks in the place of basicsr's and realesrgan's: the same weights and pictures."""

import sys
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from components.enhancement import shim
from components.enhancement.of_spandrel import spandrel_classes
from tests.helpers import HAS_BASICSR


@pytest.fixture(autouse=True)
def _imported_anew() -> Iterator[None]:
    shim.network_classes.cache_clear()
    yield
    shim.network_classes.cache_clear()


def _rrdbnet(make: type[nn.Module]) -> nn.Module:
    return make(num_in_ch=3, num_out_ch=3, scale=4, num_feat=8, num_block=2)


def _compact(make: type[nn.Module]) -> nn.Module:
    return make(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=3, upscale=4, act_type="prelu")


@pytest.mark.skipif(not HAS_BASICSR, reason="basicsr is not installed")
@pytest.mark.parametrize(("place", "make"), [(0, _rrdbnet), (1, _compact)])
def test_both_networks_are_the_other_packages_to_the_bit(place: int, make: type) -> None:
    shim.network_classes()
    torch.manual_seed(0)
    known, other = make(shim.network_classes()[place]), make(spandrel_classes()[place])
    weights = known.state_dict()
    other.load_state_dict(weights, assign=True)
    assert other.state_dict().keys() == weights.keys()
    picture = torch.rand(2, 3, 19, 23)
    with torch.inference_mode():
        assert torch.equal(known(picture), other(picture))


@pytest.mark.parametrize("missing", ["basicsr.archs.rrdbnet_arch", "realesrgan.archs.srvgg_arch"])
def test_spandrels_take_the_place_of_what_is_missing(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    rrdbnet, compact = shim.network_classes()
    assert rrdbnet.__mro__[1].__module__.startswith("spandrel.")
    assert compact.__module__.startswith("spandrel.")


def test_a_block_that_grows_otherwise_is_refused() -> None:
    with pytest.raises(ValueError, match="grows by 16"):
        spandrel_classes()[0](3, 3, 4, 8, 1, 16)
