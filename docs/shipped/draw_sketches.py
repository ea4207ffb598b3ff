"""Draw eight sketches, and what a sketch model makes of each: one sheet.

    python docs/shipped/draw_sketches.py SHEET.webp [MODEL_FOLDER]

A row a sketch: the drawing, then four seeds at each of three radii, enlarged to 256×256 by the
embedded enlarger. Seeds go through the model's styles in turn.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

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
SEEDS = range(4)
SIDE = 4 * 64


def main(sheet: Path, model: IGME) -> None:
    """Write the sheet, as WebP or by another ending."""
    generator, enhancer = LocalGenerator(), RealESRGANEnhancer()  # which keep their networks
    with tempfile.TemporaryDirectory() as folder:
        cells: list[np.ndarray] = []
        for name in SKETCHES:
            path = Path(folder) / f"{name}.png"
            draw(name).save(path)
            cells.append(np.asarray(draw(name, SIDE).convert("RGB")))
            cells += painted(generator, enhancer, model, path)
    contact_sheet(cells, columns=1 + len(RADII) * len(SEEDS)).save(sheet, quality=75, method=6)


def painted(
    generator: LocalGenerator, enhancer: RealESRGANEnhancer, model: IGME, sketch: Path
) -> Iterator[np.ndarray]:
    """Pictures (256, 256, 3) of a sketch: radius by radius, seed by seed."""

    def batches() -> Iterator[IGDT]:
        for radius in RADII:
            for seed in SEEDS:
                style = model.styles[(seed * 3 + 1) % len(model.styles)]
                options = {"radius": radius}
                asked = IGS(
                    seed=seed, count=1, sketch=sketch, style=style, options=options, device="cpu"
                )
                yield from generator.generate(model, asked)

    for batch in enhancer.enhance(batches(), IES(enhancer="embedded", scale=4, device="cpu")):
        yield from float_to_pixels(batch.images)


if __name__ == "__main__":
    chosen = Path(sys.argv[2]) if len(sys.argv) > 2 else SHIPPED_MODELS["shipped-sketch"]
    main(Path(sys.argv[1]), IGME.open(chosen))
