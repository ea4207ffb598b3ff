"""A finished training that a notebook shows: its model, curves and newest sample grid."""

import base64
import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atelier.notebook.pictures import Pictures
from components.training import TrainingFolder
from interfaces.igme import IGME


@dataclass(frozen=True)
class Training:
    """Results of a training: its model, curves and sample grids."""

    folder: Path
    """The run's folder in the workspace."""
    model: IGME

    @property
    def _left(self) -> TrainingFolder:
        return TrainingFolder(self.folder / "training")

    def curves(self) -> dict[str, list[float]]:
        """The curves' columns by name, equally long: images_seen, seconds, losses, scores."""
        return self._left.curves()

    @property
    def grids(self) -> list[Path]:
        """Sample grids, in order; the same seeds on each."""
        return [self._left.grid(images_seen) for images_seen in self._left.grids()]

    def generate(self, seeds: str = "0-7", **settings: Any) -> Pictures:
        """Make pictures with the model; see `atelier.generate`."""
        from atelier.notebook.verbs import generate

        return generate(self.model, seeds, **settings)

    def __repr__(self) -> str:
        return f"<{self.model.family}, {self.model.images_seen} images seen, {self.folder}>"

    def _repr_html_(self) -> str:
        shown = [self.folder / "training/curves.png", *self.grids[-1:]]
        images = "".join(map(_embedded, filter(Path.exists, shown)))
        return f"<p>{html.escape(repr(self)[1:-1])}</p>{images}"


def _embedded(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img src="data:image/png;base64,{data}" alt="{path.stem}" style="max-width:100%"><br>'
