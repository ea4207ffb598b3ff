"""Draw pictures of the shipped diffusion model: one sheet, a row a style.

    python docs/shipped/draw_styles.py SHEET.webp [MODEL]

Seeds 0 to 5 of each style of paintings, by `shipped-sketch-128` if no model is named, enlarged four
times by Real-ESRGAN x4plus.
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

COLUMNS = 6
SIDE = 216


def main(sheet: Path, name: str = "shipped-sketch-128") -> None:
    """Write the sheet, as WebP or by another ending."""
    generator, enlarger = LocalGenerator(), RealESRGANEnhancer()
    model = IGME.open(SHIPPED_MODELS[name])
    cells: list[np.ndarray] = []
    for style in IGME.open(SHIPPED_MODELS["shipped"]).styles:  # of paintings alone
        batches = generator.generate(model, IGS(style=style, seed=0, count=COLUMNS))
        for batch in enlarger.enhance(batches, IES(enhancer="realesrgan-x4plus", scale=4)):
            cells += [
                np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
                for picture in float_to_pixels(batch.images)
            ]
    contact_sheet(cells, columns=COLUMNS).save(sheet, quality=80, method=6)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
