"""A small folder of art for the whole pipeline."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def paintings(tmp_path: Path) -> Path:
    """24 smooth pictures in two styles."""
    folder = tmp_path / "мої картини"
    rng = np.random.default_rng(0)
    for number in range(24):
        style = folder / ("night" if number % 2 else "day")
        style.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((50, 40), Image.Resampling.BICUBIC).save(
            style / f"{number} painting.png"
        )
    return folder
