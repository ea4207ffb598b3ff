"""Interpolation: the way from one seed's picture to the next's, as pictures and as files."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from atelier.choices import check_generation
from atelier.stages import frames_of
from atelier.workspace import Workspace
from components.common.durable import write_bytes
from components.conversion import animate, strip
from interfaces.components import Components
from interfaces.errors import RefusedError
from interfaces.ics import ICS, AnimationFormat
from interfaces.ies import IES
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.iodt import IODT
from settings import Layer, RunSettings

OF_THE_WAY = ("count", "seed", "seeds", "batch_size", "originality", "towards_seed", "blend")
"""Settings of `generate` that an interpolation decides itself."""


@dataclass(frozen=True)
class Interpolation:
    """Files that an interpolation wrote."""

    animation: Path
    sheet: Path
    """A PNG of all frames, a row from each seed to the next."""

    def _repr_html_(self) -> str:
        data = base64.b64encode(self.animation.read_bytes()).decode("ascii")
        kind = self.animation.suffix[1:]
        return f'<img src="data:image/{kind};base64,{data}" style="max-width:100%">'


def layer_between(seeds: str | tuple[int, ...]) -> Layer:
    """The settings of an interpolation through these seeds."""
    return {"generate": {"seeds": seeds, "originality": False}}


def check_way(request: IGS, frames: int, frames_per_second: float) -> None:
    """Raise `RefusedError` for fewer than two seeds, and for no frames."""
    if request.num_chosen < 2 or frames < 1 or frames_per_second <= 0:
        raise RefusedError("interpolate: give two seeds or more, and frames, as --between 3,7")


def encoded_frames(
    parts: Components, model: IGME, request: IGS, enhance: IES, count: int
) -> list[IODT]:
    """The frames as PNG, `count` from each seed to the next, and the last seed's picture."""
    pixels = ((request.num_chosen - 1) * count + 1) * model.resolution**2
    parts.enhancement.planned(enhance, pixels)
    generated = frames_of(parts, model, request, count)
    enlarged = parts.enhancement.enhance(generated, enhance, parts.ui.watch, pixels)
    return list(parts.conversion.convert(enlarged, ICS(format="png")))


def write_interpolation(
    parts: Components,
    place: Workspace,
    model: IGME,
    chosen: RunSettings,
    frames: int,
    file_format: AnimationFormat,
    frames_per_second: float,
) -> Interpolation:
    """Make the frames, and write them as an animation and as a sheet.

    Raises `AtelierError` for what the model's family cannot do.
    """
    check_generation(chosen, model.family, model.styles)
    request = chosen.generate
    made = encoded_frames(parts, model, request, chosen.enhance, frames)
    named = "-".join(map(str, request.chosen_seeds[:6]))
    # Of all that was asked, so that another style or size does not take the first one's place.
    asked = f"{request.to_json()}{chosen.enhance.to_json()}{frames} {frames_per_second}"
    short = hashlib.sha256(asked.encode("utf-8")).hexdigest()[:6]
    stem = place.interpolations / f"{model.digest[:8]}-{named}-{short}"
    written = Interpolation(
        stem.with_name(f"{stem.name}.{file_format}"), stem.with_name(f"{stem.name}-frames.png")
    )
    write_bytes(written.animation, animate(made, file_format, frames_per_second))
    write_bytes(written.sheet, strip(made, columns=frames))
    return written
