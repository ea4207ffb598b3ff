"""Pictures in memory that a notebook shows, and that know where they came from."""

import base64
import html
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from components.common.images import contact_sheet, float_to_pixels
from interfaces.iedt import IEDT
from interfaces.igdt import IGDT
from interfaces.record import Origin

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SHOWN = 64
"""Pictures under a cell; the rest are counted."""

SIDE_SHOWN = 192
"""Side of a picture in a grid, pixels of the screen."""


@dataclass(frozen=True)
class Picture:
    """One picture, and where it came from."""

    pixels: NDArray[np.uint8]
    """(H, W, 3), RGB, 0 to 255."""
    origin: Origin
    """Its model, seed, style and options; or the file that it was read from."""

    @property
    def image(self) -> "Image":
        """The picture as a Pillow image."""
        from PIL import Image

        return Image.fromarray(self.pixels)

    @property
    def name(self) -> str:
        """A short name: 'seed 7, Baroque', or the file's."""
        if self.origin.kind == "file":
            return self.origin.name
        style = f", {self.origin.style}" if self.origin.style else ""
        return f"seed {self.origin.seed}{style}"

    def _repr_png_(self) -> bytes:
        return _png(self.image)


class Pictures(Sequence[Picture]):
    """Pictures in memory, as a verb returned them; a notebook shows them as a grid."""

    def __init__(self, batches: Sequence[IGDT | IEDT]) -> None:
        self.batches = tuple(batches)
        """Batches as the components hand them on: float32 in [-1, 1], with their origins."""
        self._places = [
            (batch, place) for batch in self.batches for place in range(len(batch.origins))
        ]

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Picture: ...

    @overload
    def __getitem__(self, place: slice) -> list[Picture]: ...

    def __getitem__(self, place: int | slice) -> Picture | list[Picture]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        batch, row = self._places[place]
        return Picture(float_to_pixels(batch.images[row : row + 1])[0], batch.origins[row])

    def __iter__(self) -> Iterator[Picture]:
        return (self[place] for place in range(len(self)))

    def enhance(self, scale: int = 4, **settings: Any) -> "Pictures":
        """Enlarge each side by `scale` (1, 4 or 16); see `atelier.enhance`."""
        from atelier.notebook.verbs import enhance

        return enhance(self, scale, **settings)

    def save(self, folder: str | Path, format: str = "png", **settings: Any) -> list[Path]:
        """Write a file for each, its record inside; see `atelier.convert`."""
        from atelier.notebook.verbs import convert

        return convert(self, folder, format, **settings)

    def __repr__(self) -> str:
        return f"<{len(self)} pictures>"

    def _repr_png_(self) -> bytes | None:
        shown = self[:MAX_SHOWN]
        sizes = {picture.pixels.shape for picture in shown}
        if len(sizes) != 1:
            return None  # nothing, or of several sizes: the grid shows them
        return _png(contact_sheet([picture.pixels for picture in shown]))

    def _repr_html_(self) -> str:
        cells = "".join(map(_cell, self[:MAX_SHOWN]))
        rest = len(self) - MAX_SHOWN
        more = f"<p>and {rest} more</p>" if rest > 0 else ""
        return f'<div style="display:flex;flex-wrap:wrap;gap:6px">{cells}</div>{more}'


def _cell(picture: Picture) -> str:
    image = picture.image
    image.thumbnail((2 * SIDE_SHOWN, 2 * SIDE_SHOWN))
    data = base64.b64encode(_png(image)).decode("ascii")
    name = html.escape(picture.name)
    return (
        f'<figure style="margin:0;width:{SIDE_SHOWN}px">'
        f'<img src="data:image/png;base64,{data}" alt="{name}" style="width:100%">'
        f'<figcaption style="font:11px sans-serif">{name}</figcaption></figure>'
    )


def _png(image: "Image") -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()
