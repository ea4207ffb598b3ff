"""Batches: pixels become the floats that everybody else sees, in the order asked for."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.common.images import pixels_to_float
from components.training.batches import Batches

CPU = torch.device("cpu")


def every_level() -> np.ndarray:
    """Seven pictures that hold each of the 256 levels in each colour: uint8 (7, 16, 16, 3)."""
    levels = np.arange(7 * 16 * 16 * 3, dtype=np.int64) * 37 % 256
    return levels.astype(np.uint8).reshape(7, 16, 16, 3)


LABELS = np.array([4, 0, 3, 1, 2, 0, 5], dtype=np.int64)


def test_values_are_those_of_the_shared_conversion_bit_for_bit() -> None:
    pixels = every_level()
    assert all(len(np.unique(pixels[..., colour])) == 256 for colour in range(3))
    images, _ = Batches(pixels, LABELS, CPU).take(np.arange(7))
    assert images.dtype == torch.float32
    np.testing.assert_array_equal(images.numpy(), pixels_to_float(pixels))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12))
def test_pictures_and_labels_come_in_the_order_asked_for(chosen: list[int]) -> None:
    pixels, places = every_level(), np.array(chosen)
    images, labels = Batches(pixels, LABELS, CPU).take(places)
    np.testing.assert_array_equal(images.numpy(), pixels_to_float(pixels)[places])
    assert labels.dtype == torch.int64
    assert labels.tolist() == LABELS[places].tolist()


def test_batches_are_channels_last_so_that_no_convolution_copies_them() -> None:
    images, _ = Batches(every_level(), LABELS, CPU).take(np.array([2, 5]))
    assert images.shape == (2, 3, 16, 16)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_a_read_only_set_is_read_and_left_as_it_is() -> None:
    pixels = every_level()
    pixels.flags.writeable = False
    images, _ = Batches(pixels, LABELS, CPU).take(np.array([1]))
    images.fill_(0.0)  # a batch is the caller's own
    np.testing.assert_array_equal(pixels, every_level())
