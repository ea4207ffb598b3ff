"""Draw the same seeds by both shipped sketch models: one sheet, pairs side by side.

    python docs/shipped/draw_sizes.py SHEET.webp [ENHANCER] [SIDE]

Of the seeds 0 and 1 of each style of paintings, first `shipped-sketch` enlarged to 256×256 and then
resampled to 512×512, then `shipped-sketch-128` enlarged to 512×512 at once; each SIDE (384) pixels
wide on the sheet.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))

from components.common.images import contact_sheet, float_to_pixels
from components.common.shipped import SHIPPED_MODELS
from components.enhancement import RealESRGANEnhancer
from components.generation import LocalGenerator
from interfaces.ies import IES
from interfaces.igme import IGME
from interfaces.igs import IGS

SEEDS = 2


def main(sheet: Path, enhancer: str = "auto", side: int = 384) -> None:
    """Write the sheet, as WebP or by another ending."""
    models = [IGME.open(SHIPPED_MODELS[name]) for name in ("shipped-sketch", "shipped-sketch-128")]
    cells: list[np.ndarray] = []
    for style in IGME.open(SHIPPED_MODELS["shipped"]).styles:  # of paintings alone
        by_model = [enlarged(model, style, enhancer) for model in models]
        cells += [shown(picture, side) for pair in zip(*by_model, strict=True) for picture in pair]
    contact_sheet(cells, columns=2 * SEEDS).save(sheet, quality=80, method=6)


def enlarged(model: IGME, style: str, enhancer: str) -> list[np.ndarray]:
    """The style's seeds, four times as large: uint8 (H, W, 3) each."""
    batches = LocalGenerator().generate(model, IGS(style=style, seed=0, count=SEEDS))
    made = RealESRGANEnhancer().enhance(batches, IES(enhancer=enhancer, scale=4))
    return [picture for batch in made for picture in float_to_pixels(batch.images)]


def shown(picture: np.ndarray, side: int) -> np.ndarray:
    """The picture at 512×512, then at the sheet's size."""
    large = Image.fromarray(picture).resize((512, 512), Image.Resampling.LANCZOS)
    return np.asarray(large.resize((side, side), Image.Resampling.LANCZOS))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3], *map(int, sys.argv[3:4]))
