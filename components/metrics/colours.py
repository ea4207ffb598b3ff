"""Colours as people see them: OKLab (Ottosson 2020, "A perceptual color space for image
processing"), in which equal distances look about equally different.
"""

import numpy as np
from numpy.typing import NDArray

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def to_oklab(colours: NDArray[np.floating]) -> NDArray[np.float32]:
    """sRGB (…, 3), 0 to 1 => OKLab (…, 3): lightness 0 (black) to 1 (white), and two hues."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    return (np.cbrt(linear @ _TO_CONES.T) @ _TO_LAB.T).astype(np.float32)


def from_oklab(colours: NDArray[np.floating]) -> NDArray[np.float32]:
    """OKLab (…, 3) => sRGB (…, 3), 0 to 1; colours outside sRGB are cut off at its edge."""
    cones = (colours.astype(np.float64) @ np.linalg.inv(_TO_LAB).T) ** 3
    linear = np.clip(cones @ np.linalg.inv(_TO_CONES).T, 0, 1)
    curved = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return curved.astype(np.float32)
