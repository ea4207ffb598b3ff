"""Networks by name and by file: twins, other architectures, the embedded one."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.common.download import DownloadError, PublishedFile, weights_cache
from components.common.vision import import_torchvision
from components.enhancement import OFFICIAL, RealESRGANEnhancer, absent_names
from components.enhancement import enhancer as enhancer_module
from components.enhancement import official as official_module
from components.enhancement import routes as routes_module
from components.enhancement import sources as sources_module
from components.enhancement.official import DIGESTS, twin_of
from components.enhancement.shim import network_classes
from components.enhancement.weights import load_network
from interfaces.errors import AtelierError
from interfaces.iedt import IEDT
from interfaces.ies import IES
from interfaces.igdt import IGDT
from tests.helpers import make_igdt, shared


def compact(seed: int, num_conv: int = 2) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return network_classes()[1](num_feat=8, num_conv=num_conv, upscale=4).eval()


def save(network: torch.nn.Module, path: Path) -> Path:
    torch.save({"params": network.state_dict()}, path)
    return path


def enlarge(batch: IGDT, **settings: Any) -> IEDT:
    (result,) = RealESRGANEnhancer().enhance([batch], IES(route="float32", **settings))
    return result


@pytest.fixture
def twins(tmp_path: Path) -> tuple[Path, Path]:
    """A person's own copies, named as upstream names them."""
    general = save(compact(0), tmp_path / "realesr-general-x4v3.pth")
    return general, save(compact(1), tmp_path / "realesr-general-wdn-x4v3.pth")


@pytest.fixture(autouse=True)
def _no_stopwatch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the first route untimed, since speed does not matter here, and hide the wheel."""
    monkeypatch.setattr(sources_module, "_PACKAGE", "is_not_installed")
    monkeypatch.setattr(routes_module, "_time", lambda usable, *_: {(next(iter(usable)), 1): 1.0})


# --- denoise strength ----------------------------------------------------------------------------


def test_the_ends_of_denoise_are_the_twins_themselves(twins: tuple[Path, Path]) -> None:
    general, with_noise = twins
    batch = make_igdt(2, 12)
    assert np.array_equal(
        enlarge(batch, weights=general, denoise=1).images, enlarge(batch, weights=general).images
    )
    assert np.array_equal(
        enlarge(batch, weights=general, denoise=0).images, enlarge(batch, weights=with_noise).images
    )


def test_between_the_ends_the_weights_are_mixed(twins: tuple[Path, Path]) -> None:
    general, with_noise = twins
    own, other = (torch.load(path)["params"] for path in twins)
    mixed = load_network(general, with_noise, 0.3).module.state_dict()
    for name, value in mixed.items():
        torch.testing.assert_close(value, 0.3 * own[name] + 0.7 * other[name])


def test_the_record_says_what_was_mixed(twins: tuple[Path, Path]) -> None:
    general, with_noise = twins
    record = enlarge(make_igdt(1, 8), weights=general, denoise=0.25).enhancement
    assert record.denoise == 0.25
    assert record.weights_sha256 == load_network(general).sha256
    assert record.twin_sha256 == load_network(with_noise).sha256
    assert enlarge(make_igdt(1, 8), weights=general).enhancement.twin_sha256 is None


@pytest.mark.slow
def test_real_twins_differ_and_their_ends_are_themselves() -> None:
    general = shared("weights/realesr-general-x4v3.pth")
    with_noise = shared("weights/realesr-general-wdn-x4v3.pth")
    batch = make_igdt(1, 16)
    kept, removed, half = (
        enlarge(batch, weights=general, denoise=share).images for share in (0, 1, 0.5)
    )
    assert np.array_equal(kept, enlarge(batch, weights=with_noise).images)
    assert np.abs(kept - removed).max() > 2 / 255
    assert not np.array_equal(half, kept) and not np.array_equal(half, removed)


def test_by_name_the_twin_is_downloaded_too(
    twins: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fetch(weights: PublishedFile, *_: Any) -> Path:
        asked.append(weights.name)
        return twins["wdn" in weights.name]

    monkeypatch.setattr(sources_module, "fetch", fetch)
    enlarge(make_igdt(1, 8), device="cpu", denoise=0.5)
    assert asked == ["realesr-general-x4v3", "realesr-general-wdn-x4v3"]


@pytest.mark.parametrize("what", ["no twin", "another network", "not there"])
def test_a_twin_that_does_not_fit_is_refused_in_one_line(
    twins: tuple[Path, Path], tmp_path: Path, what: str
) -> None:
    general, with_noise = twins
    if what == "no twin":
        general = save(compact(0), tmp_path / "mine.pth")
    elif what == "another network":
        save(compact(1, num_conv=3), with_noise)
    else:
        with_noise.unlink()
    with pytest.raises(AtelierError) as refusal:
        RealESRGANEnhancer().enhance([], IES(weights=general, denoise=0.5))
    assert "\n" not in str(refusal.value)
    assert ("wdn" in str(refusal.value)) == (what != "no twin")


def test_a_network_without_a_twin_has_no_denoise(
    twins: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources_module, "fetch", lambda *_: twins[0])
    with pytest.raises(AtelierError, match="denoise"):
        RealESRGANEnhancer().enhance([], IES(enhancer="realesr-animevideov3", denoise=0.5))


def test_upstreams_name_of_the_twin() -> None:
    path = Path("folder/realesr-general-x4v3.safetensors")
    assert twin_of(path) == Path("folder/realesr-general-wdn-x4v3.safetensors")


# --- the table -----------------------------------------------------------------------------------


def test_every_official_file_is_one_of_a_kind_and_says_where_from() -> None:
    assert set(OFFICIAL) == {
        "realesrgan-x4plus",
        "realesrgan-x4plus-anime",
        "realesr-general-x4v3",
        "realesr-general-wdn-x4v3",
        "realesr-animevideov3",
    }
    assert len({weights.filename for weights in OFFICIAL.values()}) == len(OFFICIAL)
    assert "github.com" in DIGESTS


# --- the embedded network ------------------------------------------------------------------------


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from safetensors.torch import save_file

    path = tmp_path / "enlarger.safetensors"
    save_file(compact(3).state_dict(), path)
    for module in (enhancer_module, official_module, sources_module):
        monkeypatch.setattr(module, "ENLARGER", path)
    return path


def test_what_lies_neither_in_the_wheel_nor_in_the_cache_is_absent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ATELIER_CACHE", str(tmp_path))
    monkeypatch.setattr(sources_module, "_PACKAGE", "no_such_package")
    assert set(absent_names()) == set(OFFICIAL)
    cached = weights_cache() / OFFICIAL["realesr-general-x4v3"].filename
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"weights")
    assert set(absent_names()) == set(OFFICIAL) - {"realesr-general-x4v3"}


def test_the_embedded_network_needs_no_download(embedded: Path) -> None:
    record = enlarge(make_igdt(1, 8), enhancer="embedded").enhancement
    assert (record.enhancer, record.is_fallback) == ("embedded", False)
    assert record.weights_sha256 == load_network(embedded).sha256


def test_without_internet_the_embedded_network_serves(
    embedded: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fetch(*_: Any) -> Path:
        raise DownloadError("no connection")

    monkeypatch.setattr(sources_module, "fetch", fetch)
    with caplog.at_level(logging.WARNING, "atelier"):
        assert enlarge(make_igdt(1, 8)).enhancement.enhancer == "embedded"
    assert "no connection" in caplog.text and "embedded" in caplog.text


def test_before_it_is_trained_it_is_not_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (enhancer_module, official_module, sources_module):
        monkeypatch.setattr(module, "ENLARGER", tmp_path / "enlarger.safetensors")
    with pytest.raises(AtelierError, match="choose one of auto, lanczos, realesrgan-x4plus"):
        RealESRGANEnhancer().enhance([], IES(enhancer="embedded"))


# --- other architectures -------------------------------------------------------------------------


def span(upscale: int) -> torch.nn.Module:
    import_torchvision()
    from spandrel.architectures.SPAN import SPAN

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SPAN(num_in_ch=3, num_out_ch=3, feature_channels=12, upscale=upscale).eval()


def test_another_architecture_comes_through_spandrel(tmp_path: Path) -> None:
    original = span(4)
    before = torch.get_rng_state()
    loaded = load_network(save(original, tmp_path / "x.pth"))
    assert torch.equal(before, torch.get_rng_state())
    assert loaded.architecture == "SPAN"
    x = torch.rand(1, 3, 13, 11)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.module(x), original(x))
    result = enlarge(make_igdt(2, 9), weights=tmp_path / "x.pth", scale=16)
    assert result.images.shape == (2, 3, 144, 144)


def test_sizes_that_an_architecture_cannot_take_are_padded(tmp_path: Path) -> None:
    import_torchvision()
    from spandrel.architectures.SwinIR import SwinIR

    network = SwinIR(
        img_size=16, window_size=8, upscale=4, embed_dim=12, depths=[2], num_heads=[2],
        mlp_ratio=2, upsampler="pixelshuffledirect", img_range=1.0,
    ).eval()  # fmt: skip
    loaded = load_network(save(network, tmp_path / "x.pth"))
    x = torch.rand(1, 3, 16, 24)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.module(x), network(x))
        assert loaded.module(x[..., :13, :19]).shape == (1, 3, 52, 76)


def test_an_architecture_that_does_not_enlarge_by_four_is_refused(tmp_path: Path) -> None:
    path = save(span(2), tmp_path / "times-two.pth")
    with pytest.raises(AtelierError, match=r"times-two\.pth.*SPAN.*by 4") as refusal:
        load_network(path)
    assert "\n" not in str(refusal.value)
