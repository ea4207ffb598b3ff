"""EfficientNet-Lite1 against the network of the package that its weights were published for."""

from pathlib import Path

import numpy as np
import pytest
import torch

from components.common.images import float_to_pixels
from components.metrics import features as features_module
from components.metrics import load_features, reference_features
from components.metrics.efficientnet import LITE1, RESOLUTION, load_lite1, prepare
from tests.helpers import make_images, tiny_prepared


@pytest.mark.parametrize("side", [RESOLUTION, 99, 240], ids=["ours", "odd", "as trained"])
@torch.inference_mode()
def test_features_are_those_of_the_package(side: int) -> None:
    """Odd and even sides, since TensorFlow's padding differs between them."""
    from efficientnet_lite_pytorch import EfficientNet

    theirs = EfficientNet.from_name("efficientnet-lite1", image_size=side)
    theirs.load_state_dict(torch.load(LITE1.find(), weights_only=True))
    images = torch.from_numpy(make_images(2, side))
    found = load_lite1()(images)
    expected = theirs.eval().extract_features(images).mean(dim=(2, 3))
    assert found.shape == (2, 1280)
    assert (found[0] - found[1]).abs().mean() > 0.01  # not all alike
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_pictures_are_brought_to_its_size_and_range() -> None:
    """A plain picture stays plain, of whatever size; black and white are what training had."""
    for side in (16, RESOLUTION, 300):
        for level, expected in ((0, -127 / 128), (127, 0.0), (255, 1.0)):
            prepared = prepare(np.full((1, side, side, 3), level, dtype=np.uint8))
            assert prepared.shape == (1, 3, RESOLUTION, RESOLUTION)
            torch.testing.assert_close(prepared, torch.full_like(prepared, expected))


def test_colours_and_places_are_kept() -> None:
    pixels = np.zeros((1, RESOLUTION, RESOLUTION, 3), dtype=np.uint8)
    pixels[0, 3, 7] = (10, 20, 30)
    expected = torch.tensor([10.0, 20.0, 30.0]).sub(127).div(128)
    torch.testing.assert_close(prepare(pixels)[0, :, 3, 7], expected)


def test_a_picture_is_told_from_its_pixels_shuffled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network sees arrangement, not colours alone: a shuffled picture has the same colours."""
    monkeypatch.setattr(features_module, "BATCH_SIZE", 4)  # 32 take seconds
    network = load_features("imagenet", device="cpu")
    picture = float_to_pixels(make_images(1, 64))
    shuffled = np.random.default_rng(0).permutation(picture.reshape(-1, 3)).reshape(picture.shape)
    noisy = np.clip(picture.astype(int) + 2, 0, 255).astype(np.uint8)
    plain, other, near = network.extract(np.concatenate([picture, shuffled, noisy]))
    assert (plain - other).norm() > 5 * (plain - near).norm()
    assert (network.name, network.sha256, network.num_features) == ("imagenet", LITE1.sha256, 1280)
    assert torch.equal(network.extract(picture)[0], plain)  # its company plays no part


def test_its_features_of_a_set_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features_module, "BATCH_SIZE", 4)
    prepared = tiny_prepared(tmp_path / "set", n=4)
    network = load_features("imagenet", device="cpu")
    found = reference_features(prepared, network, tmp_path / "cache")
    monkeypatch.setattr(network.module, "forward", lambda images: pytest.fail("computed again"))
    assert torch.equal(reference_features(prepared, network, tmp_path / "cache"), found)
    assert "-imagenet-" in next((tmp_path / "cache").iterdir()).name
