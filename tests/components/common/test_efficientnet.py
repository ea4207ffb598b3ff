"""EfficientNet-Lite0: its padding and folding against closed forms, its weights where they are."""

import io
import pickle
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from components.common.efficientnet import (
    Convolution,
    EfficientNetLite0,
    PackagedWeights,
    load_lite0,
)
from interfaces.errors import DamagedError, NotFoundError, UnavailableError


@pytest.mark.parametrize(("side", "kernel"), [(8, 3), (7, 3), (8, 5), (7, 5)])
def test_a_stride_of_two_pads_as_tensorflow_does(side: int, kernel: int) -> None:
    """An output lies at every other pixel of the same filter without a stride, from the end."""
    strided, whole = Convolution(2, 3, kernel, stride=2), Convolution(2, 3, kernel)
    whole.load_state_dict(strided.state_dict())
    images = torch.randn(1, 2, side, side)
    start = (side + 1) % 2
    every = whole.eval()(images)[:, :, start::2, start::2]
    assert_close(strided.eval()(images), every)


def test_folding_the_normalisation_changes_nothing() -> None:
    layer = Convolution(2, 3, 3).train()
    for _ in range(5):
        layer(torch.randn(8, 2, 6, 6) * 3 + 1)
    images = torch.randn(2, 2, 6, 6)
    before = layer.eval()(images)
    layer.fold()
    assert_close(layer(images), before)


def test_features_halve_stage_by_stage() -> None:
    found = EfficientNetLite0().eval()(torch.zeros(1, 3, 64, 64))
    assert [tuple(features.shape[1:]) for features in found] == [
        (16, 32, 32),
        (24, 16, 16),
        (40, 8, 8),
        (80, 4, 4),
        (112, 4, 4),
    ]


class Harmful:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("code in a weights file was run",))


@pytest.mark.parametrize("fault", ["empty", "cut", "harmful", "a bit"])
def test_any_other_file_is_refused_unread(tmp_path: Path, fault: str) -> None:
    buffer = io.BytesIO()
    torch.save(EfficientNetLite0().state_dict(), buffer)
    published = buffer.getvalue()
    data = {
        "empty": b"",
        "cut": published[:-1],
        "harmful": pickle.dumps(Harmful(), protocol=2),
        "a bit": published[:5000] + bytes([published[5000] ^ 1]) + published[5001:],
    }[fault]
    path = tmp_path / "weights.pth"
    weights = PackagedWeights("a-package", "weights.pth", sha256(published).hexdigest(), "")
    with pytest.raises(NotFoundError, match="cannot be read"):
        weights.load_into(EfficientNetLite0(), path)
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=r"not the published weights.*install a-package again"):
        weights.load_into(EfficientNetLite0(), path)


def test_a_missing_package_is_named() -> None:
    weights = PackagedWeights("no-such-package-as-this", "w.pth", "", "a loss needs it; install it")
    with pytest.raises(UnavailableError, match=r"a loss needs it; install it: .* no-such-package"):
        weights.find()


def test_published_weights_give_the_published_features() -> None:
    """Means of the last stage's first channels as efficientnet-lite-pytorch 0.1.0 finds them."""
    try:
        network = load_lite0()
    except UnavailableError as error:
        pytest.skip(str(error))
    square = torch.zeros(1, 3, 64, 64)
    square[..., 16:48, 16:48] = 0.5
    found = network(square)[-1].mean(dim=(2, 3))[0, :4]
    assert_close(found, torch.tensor([-6.3533, 1.9378, 0.0570, 1.0477]), atol=1e-3, rtol=0)
