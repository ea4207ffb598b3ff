"""Real-ESRGAN under our runner, against the packages themselves, Pillow and closed forms."""

import io
import logging
import pickle
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms
from safetensors.torch import save_file

from components.common.download import DownloadError
from components.common.images import float_to_pixels
from components.conversion import find_pictures, read_picture
from components.enhancement import (
    OFFICIAL,
    RealESRGANEnhancer,
    create,
)
from components.enhancement import enhancer as enhancer_module
from components.enhancement import routes as routes_module
from components.enhancement import runner as runner_module
from components.enhancement import sources as sources_module
from components.enhancement.drift import drift
from components.enhancement.engines import ROUTES, build
from components.enhancement.resampling import lanczos
from components.enhancement.runner import TiledRunner
from components.enhancement.shim import network_classes
from components.enhancement.weights import Network, load_network
from interfaces.batch import Carried
from interfaces.errors import AtelierError
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.progress import Progress, ProgressEvent, silent
from tests.helpers import HAS_BASICSR, REPOSITORY, make_file_origin, make_igdt, shared

LEVEL = 1 / 255
CPU = torch.device("cpu")


def general() -> Path:
    return shared("weights/realesr-general-x4v3.pth")


needs_basicsr = pytest.mark.skipif(
    not HAS_BASICSR, reason="of basicsr's own network, which is not installed"
)


def seeded_rrdbnet(num_block: int = 2, num_feat: int = 16, num_grow_ch: int = 8) -> torch.nn.Module:
    """RRDBNet with He weights, its output brought to the middle of [0, 1]."""
    if not HAS_BASICSR and num_grow_ch != 32:
        pytest.skip("spandrel's RRDBNet grows by 32 channels alone")
    rrdbnet, _ = network_classes()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = rrdbnet(3, 3, 4, num_feat, num_block, num_grow_ch).eval()
        for weight in network.parameters():
            if weight.ndim == 4:
                torch.nn.init.kaiming_normal_(weight, a=0.2)
    with torch.inference_mode():
        result = network(torch.from_numpy(picture(40, 40))[None])
        *_, last = (layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d))
        assert last.bias is not None
        last.weight.mul_(0.2 / result.std())
        last.bias.fill_(0.5 - result.mean() * 0.2 / result.std())
    return network


def seeded_compact(num_conv: int = 3, num_feat: int = 8, upscale: int = 4) -> torch.nn.Module:
    _, compact = network_classes()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return compact(num_feat=num_feat, num_conv=num_conv, upscale=upscale).eval()


def save(network: torch.nn.Module, path: Path, key: str | None = "params") -> Path:
    state = network.state_dict()
    torch.save({key: state} if key else state, path)
    return path


@pytest.fixture(autouse=True)
def _torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide OpenVINO, whose conversion would take most of the time; see test_routes.py."""
    monkeypatch.setattr(routes_module, "has_openvino", lambda: False)


@pytest.fixture
def compact_file(tmp_path: Path) -> Path:
    return save(seeded_compact(), tmp_path / "compact.pth")


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise over a smooth ground, float32 (3, H, W) in [0, 1]: every pixel is its own."""
    rng = np.random.default_rng(seed)
    ground = np.linspace(0, 1, height)[:, None] * np.linspace(1, 0, width)[None]
    return (0.5 * ground + 0.5 * rng.random((3, height, width))).astype(np.float32)


def batch_of(pictures: np.ndarray) -> IGDT:
    """(N, 3, H, W) in [0, 1] => IGDT."""
    origins = tuple(make_file_origin(f"{place}.png") for place in range(len(pictures)))
    return IGDT(images=pictures * 2 - 1, origins=origins)


def enlarge(batch: IGDT, settings: IES) -> np.ndarray:
    (result,) = RealESRGANEnhancer().enhance([batch], settings)
    return result.images


# --- the networks ------------------------------------------------------------------------------


@pytest.mark.parametrize("num_block,num_feat,grow", [(1, 8, 4), (2, 16, 8), (3, 12, 6)])
@pytest.mark.parametrize("layout", ["params", "params_ema", "plain", "safetensors"])
def test_rrdbnet_is_recognised_from_its_weights(
    tmp_path: Path, num_block: int, num_feat: int, grow: int, layout: str
) -> None:
    original = seeded_rrdbnet(num_block, num_feat, grow)
    if layout == "safetensors":
        path = tmp_path / "a name that says nothing.safetensors"
        save_file(original.state_dict(), path)
    else:
        path = save(original, tmp_path / "x.pth", None if layout == "plain" else layout)
    loaded = load_network(path)
    assert loaded.architecture == "RRDBNet"
    x = torch.from_numpy(picture(11, 9))[None]
    with torch.inference_mode():
        assert torch.equal(loaded.module(x), original(x))


@pytest.mark.parametrize("num_conv,num_feat", [(1, 8), (4, 24)])
def test_compact_is_recognised_from_its_weights(
    tmp_path: Path, num_conv: int, num_feat: int
) -> None:
    original = seeded_compact(num_conv, num_feat)
    loaded = load_network(save(original, tmp_path / "x.pth"))
    assert loaded.architecture == "SRVGGNetCompact"
    assert loaded.reach == num_conv + 2
    x = torch.from_numpy(picture(11, 9))[None]
    with torch.inference_mode():
        assert torch.equal(loaded.module(x), original(x))


def test_averaged_weights_come_first(tmp_path: Path) -> None:
    averaged, last = seeded_compact().state_dict(), seeded_compact().state_dict()
    last = {name: value * 2 for name, value in last.items()}
    torch.save({"params": last, "params_ema": averaged}, tmp_path / "both.pth")
    loaded = load_network(tmp_path / "both.pth").module.state_dict()
    torch.testing.assert_close(loaded, averaged, rtol=0, atol=0)


@needs_basicsr
def test_real_weights_give_what_the_package_gives() -> None:
    """The stock `RealESRGANer` beside ours, on the same weights."""
    network_classes()
    from realesrgan import RealESRGANer
    from realesrgan.archs.srvgg_arch import SRVGGNetCompact

    stock = RealESRGANer(4, str(general()), model=SRVGGNetCompact(num_conv=32), pre_pad=0)
    pixels = (picture(37, 29).transpose(1, 2, 0) * 255).astype(np.uint8)
    theirs, _ = stock.enhance(np.ascontiguousarray(pixels[..., ::-1]))
    batch = IGDT(
        images=pixels.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1,
        origins=(make_file_origin(),),
    )
    ours = float_to_pixels(enlarge(batch, IES(weights=general())))[0]
    assert np.abs(ours.astype(int) - theirs[..., ::-1]).max() <= 1


def test_loading_draws_no_random_numbers(compact_file: Path) -> None:
    before = torch.get_rng_state()
    load_network(compact_file)
    assert torch.equal(before, torch.get_rng_state())


# --- hostile weights -----------------------------------------------------------------------------


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code from a weights file ran')",)


def _hostile(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.pth"
    good = save(seeded_compact(), folder / "good.pth").read_bytes()
    state = seeded_compact().state_dict()
    if kind == "code":
        torch.save({"params": _Bomb()}, path)
    elif kind == "bare pickle":
        path.write_bytes(pickle.dumps(_Bomb()))
    elif kind == "truncated":
        path.write_bytes(good[: len(good) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("<html>404</html>")
    elif kind == "nan":
        state["body.2.weight"][0, 0, 0, 0] = float("nan")
        torch.save({"params": state}, path)
    elif kind == "integers":
        torch.save({"params": {"body.0.weight": torch.ones(3, dtype=torch.int64)}}, path)
    elif kind == "a list":
        torch.save([1, 2, 3], path)
    elif kind == "foreign":
        torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    elif kind == "a layer missing":
        del state["body.2.weight"]
        torch.save({"params": state}, path)
    elif kind == "times two":
        save(seeded_compact(upscale=2), path)
    elif kind == "rrdbnet times two":
        save(network_classes()[0](3, 3, 2, 8, 1, 32), path)
    elif kind == "scalars":
        torch.save({"params": {"conv_first.weight": torch.tensor(1.0)}}, path)
    elif kind == "safetensors":
        path = path.with_suffix(".safetensors")
        path.write_bytes(b"\xff" * 64)
    return path


# fmt: off
HOSTILE = [
    "code", "bare pickle", "truncated", "empty", "text", "nan", "integers", "a list", "foreign",
    "a layer missing", "times two", "rrdbnet times two", "scalars", "safetensors", "missing",
]
# fmt: on


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_weights_are_refused_in_one_line_before_a_batch_is_taken(
    tmp_path: Path, kind: str
) -> None:
    def batches() -> Iterator[IGDT]:
        pytest.fail("a batch was taken")
        yield

    path = _hostile(kind, tmp_path)
    with pytest.raises(AtelierError) as refusal:
        next(RealESRGANEnhancer().enhance(batches(), IES(weights=path)))
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


# --- the runner ----------------------------------------------------------------------------------


def run(
    network: Network,
    tile: int,
    pictures: np.ndarray,
    progress: Progress = silent,
    pixels_at_once: int = 4096,
) -> np.ndarray:
    """Pictures (N, 3, H, W) or one (3, H, W), through the runner in float32."""
    forward = build(ROUTES["float32"], network, CPU)
    runner = TiledRunner(network, forward, CPU, tile, pixels_at_once)
    result = runner.enlarge(pictures.reshape(-1, *pictures.shape[-3:]), progress)
    return result.reshape(*pictures.shape[:-2], *result.shape[-2:])


def _deviation(network: Network, height: int, width: int, tile: int) -> float:
    """Largest difference between tiled and untiled, in levels of 255."""
    x = picture(height, width)
    events: list[ProgressEvent] = []
    whole = run(network, 10_000, x, events.append)
    assert not events  # it was not cut
    tiled = run(network, tile, x, events.append)
    assert events[-1].total is not None and events[-1].total >= 4
    assert tiled.shape == (3, 4 * height, 4 * width)
    assert tiled.min() >= 0 and tiled.max() <= 1
    assert whole.std() > 0.1
    return float(np.abs(tiled - whole).max()) / LEVEL


@pytest.mark.parametrize("height,width,tile", [(127, 113, 32), (131, 149, 48), (33, 251, 32)])
def test_compact_has_no_seams(height: int, width: int, tile: int) -> None:
    assert _deviation(load_network(general()), height, width, tile) < 0.01


@pytest.mark.parametrize("height,width,tile", [(127, 113, 32), (131, 149, 48)])
def test_rrdbnet_has_no_seams(tmp_path: Path, height: int, width: int, tile: int) -> None:
    network = load_network(save(seeded_rrdbnet(num_block=6), tmp_path / "x.pth"))
    assert _deviation(network, height, width, tile) < 0.1


@pytest.mark.slow
def test_rrdbnet_of_full_depth_has_no_seams(tmp_path: Path) -> None:
    deep = seeded_rrdbnet(num_block=23, num_feat=64, num_grow_ch=32)
    assert _deviation(load_network(save(deep, tmp_path / "x.pth")), 131, 109, 48) < 1


def test_seams_would_be_seen(tmp_path: Path) -> None:
    """The measure above notices too little context."""
    network = load_network(save(seeded_rrdbnet(num_block=6), tmp_path / "x.pth"))
    blind = Network(network.module, network.architecture, network.sha256, reach=1)
    assert _deviation(blind, 97, 61, 32) > 1


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (10, 3), (33, 32)])
def test_any_size_is_enlarged(compact_file: Path, size: tuple[int, int]) -> None:
    result = enlarge(
        batch_of(picture(*size)[None]), IES(weights=compact_file, tile_pixels=32, scale=16)
    )
    assert result.shape == (1, 3, 16 * size[0], 16 * size[1])


@pytest.mark.slow
def test_a_picture_does_not_depend_on_its_batch() -> None:
    pictures = np.stack([picture(24, 20, seed) for seed in range(16)])
    settings = IES(weights=general())

    def in_batches_of(size: int) -> np.ndarray:
        starts = range(0, 16, size)
        return np.concatenate(
            [enlarge(batch_of(pictures[start : start + size]), settings) for start in starts]
        )

    apart = in_batches_of(1)
    assert np.array_equal(apart, in_batches_of(5))
    assert np.array_equal(apart, in_batches_of(16))
    assert np.array_equal(apart[::-1], enlarge(batch_of(pictures[::-1].copy()), settings))


def test_many_at_once_are_the_same_bytes_as_one(compact_file: Path) -> None:
    """Eight pictures a pass, of which one alone fills an eighth."""
    network = load_network(compact_file)
    pictures = np.stack([picture(24, 20, seed) for seed in range(11)])
    together = run(network, 64, pictures, pixels_at_once=8 * 24 * 20)
    for place in (0, 7, 10):
        alone = run(network, 64, pictures[place], pixels_at_once=8 * 24 * 20)
        assert np.array_equal(alone, together[place])
    one_by_one = run(network, 64, pictures, pixels_at_once=1)
    np.testing.assert_allclose(together, one_by_one, atol=LEVEL / 100)


class _FailsOnce(torch.nn.Module):
    """Runs out of memory at the n-th forward pass, and never again."""

    def __init__(self, network: torch.nn.Module, place: int) -> None:
        super().__init__()
        self.network, self.place, self.calls = network, place, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == self.place:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.network(x)


def test_memory_that_runs_out_at_the_third_tile_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = seeded_compact()
    pictures = np.stack([picture(90, 70, seed) for seed in range(2)])
    whole = run(Network(network, "", "", 5), 200, pictures)
    failing = Network(_FailsOnce(network, 3), "", "", 5)
    with caplog.at_level(logging.WARNING, "atelier"):
        result = run(failing, 40, pictures)
    np.testing.assert_allclose(result, whole, atol=LEVEL / 10)
    assert [record.message for record in caplog.records] == [
        "cpu: out of memory, going on with tiles of 20 pixels"
    ]


def test_memory_that_runs_out_in_a_batch_halves_the_batch(caplog: pytest.LogCaptureFixture) -> None:
    network = seeded_compact()
    pictures = np.stack([picture(20, 20, seed) for seed in range(9)])
    whole = run(Network(network, "", "", 5), 64, pictures, pixels_at_once=8 * 400)
    failing = Network(_FailsOnce(network, 2), "", "", 5)
    with caplog.at_level(logging.WARNING, "atelier"):
        result = run(failing, 64, pictures, pixels_at_once=8 * 400)
    np.testing.assert_allclose(result, whole, atol=LEVEL / 100)
    assert "batches of 4" in caplog.text


def test_little_memory_means_small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = seeded_compact(), picture(150, 130)
    events: list[ProgressEvent] = []
    with monkeypatch.context() as scarce:
        scarce.setattr(runner_module, "free_memory", lambda _: 64 * 64 * 4 * 17_000)
        tiled = run(Network(network, "", "", 5), 4096, x, events.append)
    assert len(events) > 4
    np.testing.assert_allclose(tiled, run(Network(network, "", "", 5), 4096, x), atol=LEVEL / 10)


def test_tiles_end_at_once_when_they_are_cancelled() -> None:
    def stop(event: ProgressEvent) -> None:
        seen.append(event)
        if event.done:
            raise KeyboardInterrupt

    seen: list[ProgressEvent] = []
    with pytest.raises(KeyboardInterrupt):
        run(Network(seeded_compact(), "", "", 5), 32, picture(150, 130), stop)
    assert [event.done for event in seen] == [0, 1]


@given(st.integers(1, 400), st.integers(16, 128), st.integers(0, 40))
def test_tiles_cover_a_side_and_their_weights_sum_to_one(
    total: int, core: int, context: int
) -> None:
    axis = runner_module._axis(total, core, context)
    summed = np.zeros(total * 4)
    for place, (start, weights) in enumerate(zip(axis.starts, axis.weights, strict=True)):
        assert 0 <= start <= total - axis.length
        assert len(weights) == 4 * axis.length
        summed[4 * start : 4 * (start + axis.length)] += weights
        if place:  # nothing of the band beside a cut edge
            assert (weights[: 4 * context] == 0).all()
    np.testing.assert_allclose(summed, 1, atol=1e-6)


class _SmallMemory(torch.nn.Module):
    """A network on a machine where more than `limit` input pixels at once run out of memory."""

    def __init__(self, network: torch.nn.Module, limit: int, error: Exception) -> None:
        super().__init__()
        self.network, self.limit, self.error = network, limit, error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[2] * x.shape[3] > self.limit:
            raise self.error
        return self.network(x)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_when_memory_runs_out_smaller_tiles_give_the_same_picture(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    network = seeded_compact()
    x = picture(90, 70)
    whole = run(Network(network, "", "", 5), 200, x)
    small = Network(_SmallMemory(network, 40 * 40, error), "", "", 5)
    events = []
    with caplog.at_level(logging.WARNING, "atelier"):
        result = run(small, 200, x, events.append)
    np.testing.assert_allclose(result, whole, atol=LEVEL / 10)
    assert "out of memory" in caplog.text
    assert events[-1].done == events[-1].total


def test_when_no_tile_fits_it_says_so() -> None:
    hopeless = Network(_SmallMemory(seeded_compact(), 0, MemoryError()), "", "", 5)
    with pytest.raises(AtelierError, match="not enough memory"):
        run(hopeless, 64, picture(20, 20))


def test_another_error_is_not_taken_for_memory() -> None:
    broken = Network(_SmallMemory(seeded_compact(), 0, RuntimeError("shapes differ")), "", "", 5)
    with pytest.raises(RuntimeError, match="shapes differ"):
        run(broken, 64, picture(20, 20))


def test_a_result_that_is_no_number_is_an_error_not_a_black_picture() -> None:
    network = seeded_compact()
    network.body[0].bias.data[:] = 3e38
    network.body[0].weight.data[:] = 3e38
    with pytest.raises(AtelierError, match="not numbers"):
        run(Network(network, "", "", 5), 64, picture(8, 8))


def test_a_picture_too_large_for_memory_is_refused_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enhancer_module, "MAX_ENLARGED_PIXELS", 64 * 64)
    (fits,) = create(Path()).enhance([make_igdt(1, 16)], IES(enhancer="lanczos"))
    assert fits.images.shape[2:] == (64, 64)
    with pytest.raises(AtelierError, match="68 x 68 pixels"):
        list(create(Path()).enhance([make_igdt(1, 17)], IES(enhancer="lanczos")))


# --- scale, strength, alpha ----------------------------------------------------------------------


def test_sixteen_is_four_twice(compact_file: Path) -> None:
    batch = batch_of(picture(9, 7)[None])
    once = enlarge(batch, IES(weights=compact_file))
    twice = enlarge(IGDT(images=once, origins=batch.origins), IES(weights=compact_file))
    at_once = enlarge(batch, IES(weights=compact_file, scale=16))
    np.testing.assert_allclose(at_once, twice, atol=1e-5)


def test_strength_blends_network_and_resampling(compact_file: Path) -> None:
    batch = batch_of(picture(9, 7)[None])
    plain = enlarge(batch, IES(enhancer="lanczos"))
    network = enlarge(batch, IES(weights=compact_file))
    assert np.abs(plain - network).max() > 10 * LEVEL
    assert np.array_equal(enlarge(batch, IES(weights=compact_file, strength=0)), plain)
    half = enlarge(batch, IES(weights=compact_file, strength=0.5))
    np.testing.assert_allclose(half, (plain + network) / 2, atol=1e-6)


@pytest.mark.parametrize("scale", [4, 16])
def test_lanczos_is_pillows(scale: int) -> None:
    pixels = (picture(13, 17).transpose(1, 2, 0) * 255).astype(np.uint8)
    size = (17 * scale, 13 * scale)
    theirs = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    ours = lanczos(pixels.transpose(2, 0, 1)[None].astype(np.float32), scale, 0, 255)[0]
    ours = np.rint(ours).transpose(1, 2, 0)
    assert np.abs(ours - theirs).max() <= 1  # theirs is rounded between its two passes too


def test_alpha_is_resampled_and_carried_blocks_pass(compact_file: Path) -> None:
    rng = np.random.default_rng(0)
    alpha = rng.integers(0, 2, (2, 1, 8, 6)).astype(np.float32)
    carried = (Carried(bit_depth=16, icc_profile=b"icc"), Carried(text={"a": "b"}))
    images = np.stack([picture(8, 6, 0), picture(8, 6, 1)]) * 2 - 1
    origins = (make_file_origin("a"), make_file_origin("b"))
    batch = IGDT(images=images, origins=origins, alpha=alpha, carried=carried)
    (result,) = RealESRGANEnhancer().enhance([batch], IES(weights=compact_file))
    assert result.alpha is not None
    np.testing.assert_allclose(result.alpha, lanczos(alpha, 4, 0, 1))
    assert result.carried == carried
    assert result.origins == origins


# --- drift ---------------------------------------------------------------------------------------


def test_what_only_repeats_pixels_has_no_drift() -> None:
    images = np.stack([picture(7, 5, seed) for seed in range(3)]) * 2 - 1
    repeated = images.repeat(4, axis=2).repeat(4, axis=3)
    assert drift(images, repeated) == (0, 0, 0)


def test_a_shift_of_one_level_is_a_drift_of_one() -> None:
    images = np.full((2, 3, 5, 4), -0.5, np.float32)
    moved = images.repeat(4, axis=2).repeat(4, axis=3)
    moved[1] += 2 * LEVEL
    moved[1, :, ::2] += 0.25  # detail inside each square, which leaves its mean
    moved[1, :, 1::2] -= 0.25
    assert drift(images, moved) == (0, 1)


def test_each_picture_tells_how_far_it_was_moved(compact_file: Path) -> None:
    batch = batch_of(np.stack([picture(9, 7, seed) for seed in range(3)]))
    (plain,) = RealESRGANEnhancer().enhance([batch], IES(enhancer="lanczos"))
    (moved,) = RealESRGANEnhancer().enhance([batch], IES(weights=compact_file))
    (same,) = RealESRGANEnhancer().enhance([batch], IES(scale=1))
    assert same.drift == (0, 0, 0)
    assert len(moved.drift) == len(plain.drift) == 3
    reduced = moved.images.reshape(3, 3, 9, 4, 7, 4).mean(axis=(3, 5))
    apart = np.sqrt(((reduced - batch.images) ** 2).mean(axis=(1, 2, 3))) * 127.5
    np.testing.assert_allclose(moved.drift, apart, atol=1e-3)


# --- which enhancer ------------------------------------------------------------------------------


def test_the_record_names_weights_by_digest(compact_file: Path) -> None:
    (result,) = RealESRGANEnhancer().enhance([make_igdt(1, 8)], IES(weights=compact_file))
    record = result.enhancement
    assert record.enhancer == "compact"
    assert (record.weights_from, record.weights_precision) == ("own file", "float32")
    assert record.weights_sha256 == load_network(compact_file).sha256
    assert (record.scale, record.strength, record.is_fallback) == (4, 1, False)


def test_scale_one_changes_nothing_and_needs_nothing() -> None:
    batch = make_igdt(2, 8)
    (result,) = RealESRGANEnhancer().enhance([batch], IES(scale=1))
    assert np.array_equal(result.images, batch.images)
    assert result.enhancement.enhancer == "none"


def _offline(monkeypatch: pytest.MonkeyPatch, error: AtelierError) -> None:
    def fetch(*_: object) -> Path:
        raise error

    monkeypatch.setattr(sources_module, "fetch", fetch)
    monkeypatch.setattr(sources_module, "_PACKAGE", "is_not_installed")


def test_auto_without_any_weights_resamples_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _offline(monkeypatch, DownloadError("no connection"))
    monkeypatch.setattr(enhancer_module, "ENLARGER", Path("is not there"))
    with caplog.at_level(logging.WARNING, "atelier"):
        (result,) = RealESRGANEnhancer().enhance([make_igdt(1, 8)], IES())
    assert (result.enhancement.enhancer, result.enhancement.is_fallback) == ("lanczos", True)
    assert "lanczos" in caplog.text and "no connection" in caplog.text


def test_auto_takes_x4plus_and_a_network_named_is_that_one(
    monkeypatch: pytest.MonkeyPatch, compact_file: Path
) -> None:
    asked: list[str] = []

    def fetch(weights: object, *_: object) -> Path:
        asked.append(weights.name)
        return compact_file

    monkeypatch.setattr(sources_module, "fetch", fetch)
    monkeypatch.setattr(sources_module, "_PACKAGE", "is_not_installed")
    RealESRGANEnhancer().enhance([], IES(device="cpu"))
    RealESRGANEnhancer().enhance([], IES(device="cpu", enhancer="realesr-animevideov3"))
    assert asked == ["realesrgan-x4plus", "realesr-animevideov3"]


def test_a_network_named_has_no_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    _offline(monkeypatch, DownloadError("no connection"))
    with pytest.raises(AtelierError, match="no connection"):
        RealESRGANEnhancer().enhance([], IES(enhancer="realesrgan-x4plus"))


@pytest.mark.parametrize(
    "settings,fault",
    [
        (IES(enhancer="esrgan"), "realesr-general-x4v3"),
        (IES(enhancer="lanczos", weights=Path("x.pth")), "leave one"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: IES, fault: str) -> None:
    with pytest.raises(AtelierError, match=fault):
        RealESRGANEnhancer().enhance([], settings)


@pytest.mark.slow
def test_the_networks_are_imported_where_warnings_count_as_errors() -> None:
    code = "from components.enhancement.shim import network_classes; network_classes()"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-1000:]


def test_official_files_are_fixed_by_digest_and_named_as_upstream_names_them() -> None:
    for name, weights in OFFICIAL.items():
        assert weights.name == name
        assert len(bytes.fromhex(weights.sha256)) == 32
        assert weights.url.startswith("https://github.com/xinntao/Real-ESRGAN/releases/download/v")
        assert weights.filename.endswith(".pth")
    assert len({weights.sha256 for weights in OFFICIAL.values()}) == len(OFFICIAL)


def test_what_a_record_will_say_is_known_before_a_picture_comes(compact_file: Path) -> None:
    for settings in (
        IES(weights=compact_file, strength=0.5, scale=16),
        IES(enhancer="lanczos"),
        IES(scale=1),
    ):
        enhancer = RealESRGANEnhancer()
        expected = enhancer.planned(settings)
        (result,) = enhancer.enhance([make_igdt(1, 8)], settings)
        assert result.enhancement.model_copy(update={"route": None}) == expected
        assert enhancer.planned(settings) == expected  # now that the route is known, too


def test_a_check_before_a_run_loads_the_weights_but_once(
    monkeypatch: pytest.MonkeyPatch, compact_file: Path
) -> None:
    loaded: list[Path] = []

    def load(path: Path, *others: Any) -> Network:
        loaded.append(path)
        return load_network(path, *others)

    monkeypatch.setattr("components.enhancement.weights.load_network", load)
    enhancer, settings = RealESRGANEnhancer(), IES(weights=compact_file)
    enhancer.enhance([], settings)
    list(enhancer.enhance([make_igdt(1, 8)], settings))
    assert loaded == [compact_file]
    list(enhancer.enhance([make_igdt(1, 8)], settings.model_copy(update={"scale": 16})))
    save(seeded_compact(num_conv=4), compact_file)  # another file under the same name
    (changed,) = enhancer.enhance([make_igdt(1, 8)], settings)
    assert len(loaded) == 2  # another scale needs no other network
    assert changed.enhancement.weights_sha256 == load_network(compact_file).sha256


def test_batches_are_taken_one_at_a_time(compact_file: Path) -> None:
    taken: list[int] = []

    def batches() -> Iterator[IGDT]:
        for place in range(3):
            taken.append(place)
            yield make_igdt(1, 8, seed=place)

    stream = RealESRGANEnhancer().enhance(batches(), IES(weights=compact_file))
    assert taken == []
    for place in range(3):
        next(stream)
        assert taken == list(range(place + 1))


# --- a person's own pictures ---------------------------------------------------------------------


def _png16(samples: np.ndarray, orientation: int = 1) -> bytes:
    """uint16 (H, W, C) => a PNG, written by hand, since Pillow cannot."""
    height, width, channels = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    exif = Image.Exif()
    exif[274] = orientation
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)),
            chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        )
    )


def _samples(channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (5, 7, channels), dtype=np.uint16)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_come_whole(tmp_path: Path, channels: int) -> None:
    samples = _samples(channels)
    (tmp_path / "deep.png").write_bytes(_png16(samples))
    batch = read_picture(tmp_path / "deep.png")
    assert batch.carried is not None and batch.carried[0].bit_depth == 16
    levels = np.rint((batch.images[0].astype(np.float64) + 1) * 32767.5).transpose(1, 2, 0)
    colours = samples[..., : 3 if channels > 2 else 1]
    assert np.array_equal(levels, np.broadcast_to(colours, (5, 7, 3)))
    if channels in {2, 4}:
        assert batch.alpha is not None
        assert np.array_equal(np.rint(batch.alpha[0, 0] * 65535), samples[..., -1])
    else:
        assert batch.alpha is None


def test_sixteen_bit_tiff(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    samples = _samples(3)
    (tmp_path / "deep.tif").write_bytes(cv2.imencode(".tif", samples[..., ::-1])[1].tobytes())
    batch = read_picture(tmp_path / "deep.tif")
    levels = np.rint((batch.images[0].astype(np.float64) + 1) * 32767.5).transpose(1, 2, 0)
    assert np.array_equal(levels, samples)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_and_plain_pictures_turn_alike(tmp_path: Path, orientation: int) -> None:
    samples = (_samples(3) // 257) * 257  # levels that 8 bits hold as well
    exif = Image.Exif()
    exif[274] = orientation
    exif[0x010F] = "Camera"
    plain = Image.fromarray((samples // 257).astype(np.uint8))
    plain.save(tmp_path / "plain.png", exif=exif)
    plain.save(tmp_path / "plain.tif", exif=exif)
    (tmp_path / "deep.png").write_bytes(_png16(samples, orientation))
    batches = [read_picture(tmp_path / name) for name in ("plain.png", "plain.tif", "deep.png")]
    for batch in batches[1:]:
        np.testing.assert_allclose(batch.images, batches[0].images, atol=1e-6)
    for batch in batches[:2]:
        assert batch.carried is not None and batch.carried[0].exif is not None
        kept = Image.Exif()
        kept.load(batch.carried[0].exif)
        assert dict(kept) == {0x010F: "Camera"}


def test_a_photograph_keeps_what_it_holds(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x013B] = "Ada"
    exif.get_ifd(0x8769).update({0xA002: 7, 0x9003: "2020:01:01 00:00:00"})
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = (picture(8, 7).transpose(1, 2, 0) * 255).astype(np.uint8)
    path = tmp_path / "photo.JPG"
    Image.fromarray(pixels).save(path, "JPEG", exif=exif, icc_profile=profile, xmp=b"<x:xmpmeta/>")
    (carried,) = read_picture(path).carried
    assert carried.icc_profile == profile
    assert carried.xmp == b"<x:xmpmeta/>"
    kept = Image.Exif()
    kept.load(carried.exif)
    assert kept[0x013B] == "Ada"
    assert kept.get_ifd(0x8769) == {0x9003: "2020:01:01 00:00:00"}  # not the old width


def test_a_png_keeps_its_text(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Title", "Вечер")
    Image.new("RGB", (4, 4)).save(tmp_path / "t.png", pnginfo=info)
    assert read_picture(tmp_path / "t.png").carried[0].text == {"Title": "Вечер"}


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16", "LAB"])
def test_any_mode_is_read(tmp_path: Path, mode: str) -> None:
    ground = Image.new("RGB", (6, 5), (200, 200, 200))
    image = Image.new("I;16", (6, 5), 200 * 257) if mode == "I;16" else None
    if mode == "LAB":
        to_lab = ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        )
        image = ImageCms.applyTransform(ground, to_lab)
    if mode == "P":
        image = ground.quantize()
    (image or ground.convert(mode)).save(tmp_path / "x.tif")
    batch = read_picture(tmp_path / "x.tif")
    (carried,) = batch.carried
    assert carried.mode == mode
    if mode == "1":  # dithered
        assert set(np.unique(batch.images)) == {-1, 1}
    else:
        np.testing.assert_allclose(batch.images, 200 / 127.5 - 1, atol=4 * LEVEL)
    assert (batch.alpha is not None) == (mode in {"LA", "RGBA"})


def test_print_colours_lose_the_profile_that_describes_them(tmp_path: Path) -> None:
    cmyk_profile = b"\0" * 16 + b"CMYK" + b"\0" * 108
    Image.new("CMYK", (4, 4)).save(tmp_path / "p.tif", icc_profile=cmyk_profile)
    batch = read_picture(tmp_path / "p.tif")
    np.testing.assert_allclose(batch.images, 1, atol=LEVEL)
    assert batch.carried[0].icc_profile is None


def test_a_transparent_palette_keeps_its_holes(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    image.save(tmp_path / "p.png", transparency=1)
    batch = read_picture(tmp_path / "p.png")
    assert batch.alpha[0, 0].tolist() == [[1, 0]]
    assert batch.images[0, :, 0, 0].tolist() == [1, -1, -1]


def _bad_file(kind: str, path: Path) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(buffer, "PNG")
    content = {
        "empty": b"",
        "text": b"not an image",
        "truncated": buffer.getvalue()[:900],
        "bomb": _png16(_samples(3)).replace(
            struct.pack(">II", 7, 5), struct.pack(">II", 50_000, 50_000), 1
        ),
    }
    if kind in content:
        path.write_bytes(content[kind])


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "bomb", "missing"])
def test_a_bad_file_is_named_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "плохой файл.png"
    _bad_file(kind, path)
    with pytest.raises(AtelierError) as refusal:
        read_picture(path)
    assert path.name in str(refusal.value) and "\n" not in str(refusal.value)


def test_folders_are_searched(tmp_path: Path) -> None:
    names = ["b/Z.JPG", "b/a.Png", "c.webp", "d.HEIC", "notes.txt", ".hidden.png", "b/.git/x.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path, target_is_directory=True)
    found = find_pictures([tmp_path / "notes.txt", tmp_path, tmp_path / "c.webp"])
    expected = ["notes.txt", "b/Z.JPG", "b/a.Png", "c.webp", "d.HEIC"]
    assert list(found) == [tmp_path / name for name in expected]
    assert list(found.values()) == [Path(folder) for folder in (".", "b", "b", ".", ".")]


def test_what_lies_in_a_workspace_is_taken_where_it_is_named_alone(tmp_path: Path) -> None:
    results = tmp_path / "workspace" / "results"
    for place in (tmp_path / "a.png", results / "0001-x" / "b.png", results / "results.journal"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    assert list(find_pictures([tmp_path])) == [tmp_path / "a.png"]
    assert list(find_pictures([results])) == [results / "0001-x" / "b.png"]


@pytest.mark.parametrize("name", ["x.heic", "x.PSD", "x.pdf", "x.kra"])
def test_a_format_that_is_not_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(AtelierError, match=rf"{name}: \{Path(name).suffix.lower()} files are not"):
        read_picture(tmp_path / name)


def test_nothing_found_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AtelierError, match="no such"):
        find_pictures([tmp_path / "nowhere"])
    with pytest.raises(AtelierError, match="no picture"):
        find_pictures([tmp_path])


# --- use from another project --------------------------------------------------------------------

SCRIPT = """
from pathlib import Path
from PIL import Image
from components.conversion import read_picture
from components.enhancement import RealESRGANEnhancer
from components.common.images import float_to_pixels
from interfaces.ies import IES

picture = read_picture(Path("small.png"))
(enlarged,) = RealESRGANEnhancer().enhance([picture], IES(scale=4, weights=Path("mine.pth")))
Image.fromarray(float_to_pixels(enlarged.images)[0]).save("large.png")
print(enlarged.enhancement.enhancer, enlarged.images.shape)
"""


@pytest.mark.slow
def test_a_ten_line_script_enlarges_a_picture(
    tmp_path: Path, compact_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compact_file.rename(tmp_path / "mine.pth")
    Image.new("RGB", (12, 9), (10, 200, 30)).save(tmp_path / "small.png")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    command = [sys.executable, "-c", SCRIPT]
    printed = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert printed.stdout == "mine (1, 3, 36, 48)\n"
    assert Image.open(tmp_path / "large.png").size == (48, 36)


@pytest.mark.parametrize("chosen", [{"scale": 1}, {"enhancer": "lanczos"}])
def test_what_changes_nothing_without_a_network_is_said(
    chosen: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", "atelier"):
        list(RealESRGANEnhancer().enhance([], IES.model_validate(chosen)))
        assert not caplog.messages
        settings = IES.model_validate(chosen | {"denoise": 0.5, "route": "float32"})
        list(RealESRGANEnhancer().enhance([], settings))
    assert [line.split(":")[0] for line in caplog.messages] == ["denoise", "route"]
