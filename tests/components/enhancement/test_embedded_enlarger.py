"""The enlarger that ships: what its file is, that it beats resampling, and how that is measured."""

import io
import logging
import zipfile
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from components.common.download import DownloadError
from components.common.durable import sha256_of
from components.common.shipped import ENLARGER
from components.enhancement import RealESRGANEnhancer, names
from components.enhancement import sources as sources_module
from components.enhancement.weights import load_network
from components.metrics.features import embedded_features
from docs.shipped import make_enlarger
from docs.shipped.make_enlarger import in_order, thumbnails
from docs.shipped.measure_enlarger import (
    by_enhancer,
    distance,
    luma,
    psnr,
    reduced,
    ssim,
    tiles,
)
from interfaces.iedt import IEDT
from interfaces.ies import IES
from tests.helpers import make_igdt, make_images, shared

# --- the file ------------------------------------------------------------------------------------


def test_the_shipped_file_is_small_and_recognised() -> None:
    assert ENLARGER.stat().st_size <= 3_000_000
    network = load_network(ENLARGER)
    assert network.architecture == "SRVGGNetCompact"
    assert "embedded" in names()


@torch.inference_mode()
def test_it_enlarges_by_four_and_keeps_flat_colours() -> None:
    colours = torch.rand(6, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    enlarged = load_network(ENLARGER).module(colours.expand(6, 3, 40, 32))
    assert enlarged.shape == (6, 3, 160, 128)
    inside = enlarged[..., 64:96, 48:80]  # beyond the reach of the edges
    torch.testing.assert_close(inside, colours.expand_as(inside), rtol=0, atol=4 / 255)


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object) -> Path:
        raise DownloadError("no connection")

    monkeypatch.setattr(sources_module, "fetch", fetch)
    monkeypatch.setattr(sources_module, "_PACKAGE", "is_not_installed")


def enlarged(settings: IES) -> IEDT:
    (result,) = RealESRGANEnhancer().enhance([make_igdt(2, 16)], settings)
    return result


def test_it_works_without_a_connection_and_the_record_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offline(monkeypatch)
    result = enlarged(IES(enhancer="embedded", device="cpu"))
    assert result.images.shape == (2, 3, 64, 64)
    record = result.enhancement
    assert (record.enhancer, record.weights_sha256) == ("embedded", sha256_of(ENLARGER))
    assert (record.scale, record.strength, record.is_fallback) == (4, 1, False)


def test_auto_without_a_connection_takes_it_and_the_record_names_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    offline(monkeypatch)
    with caplog.at_level(logging.WARNING, "atelier"):
        record = enlarged(IES(device="cpu")).enhancement
    assert (record.enhancer, record.weights_sha256) == ("embedded", sha256_of(ENLARGER))
    assert "no connection" in caplog.text


def test_it_beats_lanczos_on_paintings_that_it_never_saw() -> None:
    with zipfile.ZipFile(shared("data/paintings-224.zip")) as archive:
        files = [name for name in archive.namelist() if name.endswith(".jpg")]
        order = in_order([name.rpartition(".")[0] for name in files])[:12]
        pictures = [Image.open(io.BytesIO(archive.read(files[n]))).convert("RGB") for n in order]
    truth = np.stack([np.asarray(picture) for picture in pictures])
    network = embedded_features(device="cpu")
    ours, plain = (
        by_enhancer(IES(enhancer=name, device="cpu"))(reduced(truth))
        for name in ("embedded", "lanczos")
    )
    assert (psnr(ours, truth) - psnr(plain, truth)).mean() > 0.3
    assert (ssim(luma(ours), luma(truth)) > ssim(luma(plain), luma(truth))).all()
    for cut in (tiles, np.asarray):
        of_ours, of_plain = (
            distance(network, cut(found), cut(truth)).mean() for found in (ours, plain)
        )
        assert of_ours < 0.9 * of_plain


# --- how it is measured --------------------------------------------------------------------------


def plane(side: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (1, side, side))


def test_ssim_of_a_picture_with_itself_is_one() -> None:
    np.testing.assert_allclose(ssim(plane(40, 0), plane(40, 0)), 1, rtol=1e-12)


@given(st.floats(0, 255), st.floats(0, 255))
def test_ssim_of_flat_pictures_is_that_of_their_brightness(first: float, second: float) -> None:
    """With no variance, equation 13 leaves the comparison of means (equation 6)."""
    c1 = (0.01 * 255) ** 2
    expected = (2 * first * second + c1) / (first**2 + second**2 + c1)
    found = ssim(np.full((1, 16, 16), first), np.full((1, 16, 16), second))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_ssim_of_one_window_is_the_formula_written_out() -> None:
    x, y = plane(11, 1)[0], plane(11, 2)[0]
    rows, columns = np.mgrid[-5:6, -5:6]
    weights = np.exp(-(rows**2 + columns**2) / (2 * 1.5**2))
    weights /= weights.sum()
    c1, c2 = 6.5025, 58.5225
    mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
    variance_x = (weights * (x - mean_x) ** 2).sum()
    variance_y = (weights * (y - mean_y) ** 2).sum()
    covariance = (weights * (x - mean_x) * (y - mean_y)).sum()
    expected = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    )
    np.testing.assert_allclose(ssim(x[None], y[None]), expected, rtol=1e-9)


@given(st.integers(1, 127))
def test_psnr_of_pictures_evenly_apart_is_closed_form(apart: int) -> None:
    dark = np.full((2, 8, 8, 3), 100, np.uint8)
    expected = 20 * np.log10(255 / apart)
    np.testing.assert_allclose(psnr(dark + np.uint8(apart), dark), expected, rtol=1e-12)


def test_tiles_are_cut_from_their_places() -> None:
    rows, columns = np.mgrid[:224, :224].astype(np.uint8)
    cut = tiles(np.stack([rows, columns, 0 * rows], axis=-1)[None])
    assert cut.shape == (9, 64, 64, 3)
    assert [tuple(tile[0, 0, :2]) for tile in cut[[0, 1, 3, 8]]] == [
        (0, 0),
        (0, 80),
        (80, 0),
        (160, 160),
    ]


# --- what is held out ----------------------------------------------------------------------------


@given(st.lists(st.text(min_size=1), unique=True), st.randoms())
def test_the_order_depends_on_the_names_alone(words: list[str], random: Random) -> None:
    shuffled = list(words)
    random.shuffle(shuffled)
    assert [words[n] for n in in_order(words)] == [shuffled[n] for n in in_order(shuffled)]


def pixels(n: int, side: int) -> np.ndarray:
    return ((make_images(n, side) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)


def test_a_thumbnail_knows_its_picture_at_another_size() -> None:
    found = thumbnails(pixels(5, 128)) @ thumbnails(pixels(5, 224)).T
    assert (np.diag(found) > 0.99).all()
    assert found[~np.eye(5, dtype=bool)].max() < make_enlarger.SAME


def test_nothing_is_learnt_from_a_painting_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 8
    small, large = pixels(count, 128), pixels(count, 224)
    paintings = [f"style/painter_work-{n}" for n in range(count)]
    first = in_order(paintings)[0]
    copies = np.concatenate([small, small[[first]]])  # the same painting again, under another name
    given_names = {128: [*paintings, "style/painter_again"], 224: paintings}

    def read(_: str, side: int, __: Path) -> tuple[np.ndarray, list[str]]:
        return (copies if side == 128 else large), given_names[side]

    monkeypatch.setattr(make_enlarger, "read", read)
    monkeypatch.setattr(make_enlarger, "HELD_OUT", 2)
    monkeypatch.setattr(make_enlarger, "WATCHED", 1)
    (small_left, large_left), held_out, watched = make_enlarger.load("", "", Path())
    order = in_order(paintings)
    assert np.array_equal(held_out, large[order[:2]])
    assert np.array_equal(watched, large[order[2:3]])
    kept = np.sort(order[3:])
    assert np.array_equal(small_left, small[kept])
    assert np.array_equal(large_left, large[kept])
