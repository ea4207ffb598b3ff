"""Draw pictures and what the repainter makes of each at three strengths: one sheet.

    python docs/shipped/draw_variations.py SHEET.webp PICTURE…

A row a picture: the picture itself, then `source_strength` 0.3, 0.5 and 0.7, each at the same seed.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

sys.path.insert(0, str(Path(__file__).parents[2]))

from components.common.images import contact_sheet, float_to_pixels
from components.common.shipped import REPAINTER, SHIPPED_MODELS
from components.generation import LocalGenerator
from interfaces.igme import IGME
from interfaces.igs import IGS

STRENGTHS = (0.3, 0.5, 0.7)
SIDE = 192


def main(sheet: Path, pictures: list[Path]) -> None:
    """Write the sheet, two pictures a row, as WebP or by another ending."""
    generator, model = LocalGenerator(), IGME.open(SHIPPED_MODELS[REPAINTER])
    cells: list[np.ndarray] = []
    for picture in pictures:
        with Image.open(picture) as opened:
            cells.append(np.asarray(ImageOps.fit(opened.convert("RGB"), (SIDE, SIDE))))
        for strength in STRENGTHS:
            options = {"source_strength": strength, "source_size": SIDE}
            (batch,) = generator.generate(model, IGS(source=picture, count=1, options=options))
            painted = Image.fromarray(float_to_pixels(batch.images)[0])
            cells.append(np.asarray(ImageOps.fit(painted, (SIDE, SIDE))))
    contact_sheet(cells, columns=2 * (1 + len(STRENGTHS))).save(sheet, quality=75, method=6)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
