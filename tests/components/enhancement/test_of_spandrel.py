"""spandrel's networks in the place of basicsr's and realesrgan's: the same weights and pictures."""

import sys
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from components.enhancement import shim
from components.enhancement.of_spandrel import spandrel_classes

pytestmark = pytest.mark.skipif(
    find_spec("spandrel") is None, reason="needs spandrel (the extra `spandrel`)"
)
needs_both = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="basicsr cannot be built on this Python"
)


def _rrdbnet(make: type[nn.Module]) -> nn.Module:
    return make(num_in_ch=3, num_out_ch=3, scale=4, num_feat=8, num_block=2)


def _compact(make: type[nn.Module]) -> nn.Module:
    return make(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=3, upscale=4, act_type="prelu")


@needs_both
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


def test_a_block_that_grows_otherwise_is_refused() -> None:
    with pytest.raises(ValueError, match="grows by 16"):
        spandrel_classes()[0](3, 3, 4, 8, 1, 16)
