"""Groups of like pictures, and colours as people see them, against known truth."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from PIL import Image, ImageCms

from components.metrics.clusters import MOST, Clusters
from components.metrics.colours import from_oklab, to_oklab


@given(sizes=st.lists(st.integers(8, 40), min_size=MOST, max_size=MOST), seed=st.integers(0, 99))
def test_groups_that_lie_apart_are_found_the_largest_first(sizes: list[int], seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    centres = torch.eye(MOST, 12) * 1000
    truth = np.repeat(np.arange(MOST), sizes)
    features = centres[truth] + torch.randn(len(truth), 12, generator=draw)
    clusters = Clusters.of(features)
    found = clusters.assign(features)
    assert len(clusters.centres) == MOST
    # One found group for each true one: the pairs are as many as either.
    assert len(set(zip(truth.tolist(), found.tolist(), strict=True))) == MOST
    assert sorted(sizes, reverse=True) == np.bincount(found).tolist()


@pytest.mark.parametrize("count", [1, 2, 7, 9, 40])
def test_few_pictures_and_equal_ones_make_fewer_groups(count: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(Clusters.of(torch.zeros(count, 5)).centres) == 1
        features = torch.randn(count, 5, generator=torch.Generator().manual_seed(0))
        assert len(Clusters.of(features).centres) <= max(1, count // 8)


def test_equal_features_give_equal_groups() -> None:
    features = torch.randn(300, 20, generator=torch.Generator().manual_seed(1))
    assert torch.equal(Clusters.of(features).centres, Clusters.of(features.clone()).centres)


def test_colours_come_back_from_oklab() -> None:
    levels = np.linspace(0, 1, 9)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    assert_allclose(from_oklab(to_oklab(cube)), cube, atol=2e-3)


def test_oklab_is_that_of_the_source() -> None:
    """Ottosson's own examples, by way of sRGB: white, and D65's X, Y and Z within sRGB."""
    assert_allclose(to_oklab(np.ones(3)), [1, 0, 0], atol=1e-3)
    assert_allclose(to_oklab(np.zeros(3)), [0, 0, 0], atol=1e-6)


def test_lightness_orders_colours_as_cielab_does() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (1, 200, 3), np.uint8)
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    lab = ImageCms.applyTransform(Image.fromarray(colours), to_lab)
    assert lab is not None
    theirs = np.asarray(lab)[0, :, 0].astype(float)
    ours = to_oklab(colours[0] / 255)[:, 0]
    assert np.corrcoef(theirs, ours)[0, 1] > 0.97
