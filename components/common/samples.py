"""Decoded samples: what the numbers in a file show, whatever their type.

Black is 0 and white the highest level of the array's type. The rules:

- Unsigned integers of n bits run from 0, black, to 2ⁿ − 1, white.
- Signed integers run from 0, black, to 2ⁿ⁻¹ − 1, white. What a sample below 0 should look like no
  standard says, so such a picture is refused.
- Floating point samples say nowhere what is white. It is 1, 255 or 65535: the one of which the
  highest sample is at most the double, and more than a sixteenth (for 1, anything up to 2). Up to a
  quarter of white below black is taken for the undershoot of a filter. What lies outside is clipped
  to black and white; a picture of any other range, or with samples that are no finite numbers, is
  refused.

Up to 8 bits become uint8; more, and floating point, uint16.
"""

from dataclasses import dataclass

import numpy as np


class UnsupportedError(ValueError):
    """An intact file whose pixels have no defined meaning; the message says what to do."""


@dataclass(frozen=True)
class Samples:
    """A decoded picture."""

    colours: np.ndarray
    """uint8 or uint16 (H, W, 1 or 3): grey, or red, green and blue."""
    opacity: np.ndarray | None = None
    """(H, W), of the same type; None where all is opaque. Colours are not multiplied by it."""

    @property
    def bit_depth(self) -> int:
        """8 or 16."""
        return self.colours.itemsize * 8

    def upright(self, orientation: int) -> "Samples":
        """Turned and mirrored as one of the eight EXIF orientations says (EXIF 2.32, 4.6.4)."""
        opacity = None if self.opacity is None else _upright(self.opacity, orientation)
        return Samples(_upright(self.colours, orientation), opacity)

    def in_8_bits(self) -> "Samples":
        """The same in uint8, each level rounded to the nearest."""
        if self.colours.dtype == np.uint8:
            return self
        opacity = None if self.opacity is None else _to_8_bits(self.opacity)
        return Samples(_to_8_bits(self.colours), opacity)


def _upright(planes: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in {5, 6, 7, 8}:  # lies on its side
        planes = planes.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        planes = planes[::-1]
    if orientation in {2, 3, 6, 7}:
        planes = planes[:, ::-1]
    return planes


def _to_8_bits(levels: np.ndarray) -> np.ndarray:
    return _every_level(65535, np.uint8)[levels]


def _every_level(highest: int, dtype: type[np.unsignedinteger]) -> np.ndarray:
    """A table: level 0 to `highest` => the nearest level of `dtype`."""
    levels = np.arange(highest + 1, dtype=np.float64)
    return np.rint(levels * (np.iinfo(dtype).max / highest)).astype(dtype)


def unsigned(values: np.ndarray, bits: int) -> np.ndarray:
    """Unsigned integers of 1 to 32 bits => levels."""
    if bits in (8, 16):
        return values.astype(f"u{bits // 8}", copy=False)
    if bits < 8:
        return _every_level((1 << bits) - 1, np.uint8)[values]
    if bits < 16:
        return _every_level((1 << bits) - 1, np.uint16)[values]
    scale = 65535 / ((1 << bits) - 1)
    return np.stack([np.rint(row * scale).astype(np.uint16) for row in values])


def signed(values: np.ndarray, bits: int) -> np.ndarray:
    """Signed integers of 8, 16 or 32 bits => levels. Raises `UnsupportedError` below 0."""
    if values.min(initial=0) < 0:
        raise UnsupportedError(
            f"has samples below 0, down to {values.min()}, which no rule gives a colour; save it "
            "with unsigned samples"
        )
    return unsigned(values.astype(f"u{bits // 8}", copy=False), bits - 1)


def floating(values: np.ndarray) -> np.ndarray:
    """Floating point samples => levels. Raises `UnsupportedError` where white is not known."""
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UnsupportedError("has samples that are no finite numbers; save it with integers")
    candidates = [w for w in (1, 255, 65535) if high <= 2 * w and (w == 1 or high > w / 16)]
    if not candidates or low < -candidates[0] / 4:
        raise UnsupportedError(
            f"has floating point samples from {low:g} to {high:g}, of which it does not say what "
            "is white; scale them to 0 to 1, or save it with integers"
        )
    white = candidates[0]
    # Row by row in float64: float16 ends at 65504.
    shares = (np.clip(row.astype(np.float64) / white, 0, 1) for row in values)
    return np.stack([np.rint(share * 65535).astype(np.uint16) for share in shares])


def inverted(levels: np.ndarray) -> np.ndarray:
    """Levels of a negative, where 0 is white => levels."""
    return np.bitwise_not(levels)


def separated(colours: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Colours (H, W, C) that were multiplied by their opacity => colours that were not."""
    highest = np.iinfo(colours.dtype).max
    divisor = np.maximum(opacity, 1).astype(np.float32)[..., None]
    whole = np.rint(colours.astype(np.float32) * (highest / divisor))
    return np.minimum(whole, highest).astype(colours.dtype)
