"""Draw eight sketches, and what the shipped model makes of each: a sheet, and one of four of them.

    python docs/shipped/draw_sketches.py SHEET.webp FEW.webp

A row a sketch: the drawing, then four seeds at each of three radii (the other sheet: at the first),
enlarged to 256×256 by Real-ESRGAN x4plus. Each seed has a style of its own.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))

from components.common.images import contact_sheet, float_to_pixels
from components.common.shipped import SHIPPED_MODELS
from components.enhancement import RealESRGANEnhancer
from components.generation import LocalGenerator
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.igme import IGME
from interfaces.igs import IGS
from tests.drawings import SKETCHES, draw

RADII = (3, 7, 11)
STYLES = ("Impressionism", "Ukiyo_e", "Pointillism", "Baroque")
"""Styles of the seeds 0 to 3."""
SIDE = 4 * 64
FEW = ("house", "wave", "vase", "boat")
FEW_SIDE = 160


def main(sheet: Path, few: Path) -> None:
    """Write both sheets, as WebP or by other endings."""
    model = IGME.open(SHIPPED_MODELS["shipped-sketch"])
    generator, enhancer = LocalGenerator(), RealESRGANEnhancer()  # which keep their networks
    cells: list[np.ndarray] = []
    cells_of_few: list[np.ndarray] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in SKETCHES:
            path = Path(folder) / f"{name}.png"
            draw(name).save(path)
            drawing = np.asarray(draw(name, SIDE).convert("RGB"))
            row = [drawing, *painted(generator, enhancer, model, path)]
            cells += row
            if name in FEW:
                cells_of_few += map(smaller, row[: 1 + len(STYLES)])
    contact_sheet(cells, columns=1 + len(RADII) * len(STYLES)).save(sheet, quality=75, method=6)
    contact_sheet(cells_of_few, columns=2 * (1 + len(STYLES))).save(few, quality=80, method=6)


def smaller(cell: np.ndarray) -> np.ndarray:
    """Shrink a cell to its size in the second sheet."""
    resized = Image.fromarray(cell).resize((FEW_SIDE, FEW_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(resized)


def painted(
    generator: LocalGenerator, enhancer: RealESRGANEnhancer, model: IGME, sketch: Path
) -> Iterator[np.ndarray]:
    """Pictures (256, 256, 3) of a sketch: radius by radius, seed by seed."""

    def batches() -> Iterator[IGDT]:
        for radius in RADII:
            for seed, style in enumerate(STYLES):
                options = {"radius": radius}
                asked = IGS(
                    seed=seed, count=1, sketch=sketch, style=style, options=options, device="cpu"
                )
                yield from generator.generate(model, asked)

    for batch in enhancer.enhance(
        batches(), IES(enhancer="realesrgan-x4plus", scale=4, device="cpu")
    ):
        yield from float_to_pixels(batch.images)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
