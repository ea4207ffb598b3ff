"""Charts: the one place that imports matplotlib, which only trainings and studies need.

Its own types leave most arguments open. Here is what of it is used, with theirs.
"""

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interfaces.errors import UnavailableError

if TYPE_CHECKING:
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.container import BarContainer
    from matplotlib.patches import Patch
    from matplotlib.spines import Spines
    from matplotlib.text import Text
    from matplotlib.transforms import Transform


class Axes(Protocol):
    """One system of coordinates."""

    @property
    def spines(self) -> "Spines":
        """The four lines of the frame."""
        ...

    @property
    def transAxes(self) -> "Transform":  # noqa: N802
        """From shares of the width and height to the screen."""
        ...

    @property
    def xaxis(self) -> "XAxis":
        """The axis below."""
        ...

    @property
    def yaxis(self) -> "YAxis":
        """The axis at the left."""
        ...

    def set(self, **options: object) -> object:
        """Set several properties by name."""
        ...

    def set_title(self, label: str, /, *, fontsize: str = ...) -> object:
        """Write a title above."""
        ...

    def set_xlim(self, left: float = ..., right: float = ...) -> object:
        """Choose what part of the x axis is shown."""
        ...

    def set_xscale(self, value: str, /) -> None:
        """Choose the x axis's scale: 'log'."""
        ...

    def set_yscale(self, value: str, /) -> None:
        """Choose the y axis's scale: 'log'."""
        ...

    def set_yticks(
        self, ticks: Sequence[float], labels: Sequence[str], /, *, fontsize: str = ...
    ) -> object:
        """Label places of the y axis."""
        ...

    def set_axisbelow(self, b: bool, /) -> None:
        """Put the grid behind what is drawn."""
        ...

    def margins(self, *, x: float, y: float) -> object:
        """Leave room around what is drawn, as shares of it."""
        ...

    def grid(
        self,
        *,
        which: Literal["major", "minor", "both"] = ...,
        axis: Literal["both", "x", "y"] = ...,
        alpha: float,
    ) -> None:
        """Draw a grid."""
        ...

    def legend(self, *, fontsize: str = ...) -> object:
        """Explain lines and colours."""
        ...

    def plot(
        self,
        *args: ArrayLike,
        color: str = ...,
        alpha: float = ...,
        label: str = ...,
        linewidth: float = ...,
        marker: str = ...,
        markersize: float = ...,
        fillstyle: str = ...,
    ) -> object:
        """Draw a line or marks."""
        ...

    def step(
        self,
        x: ArrayLike,
        y: ArrayLike,
        /,
        *,
        where: Literal["pre", "post", "mid"],
        color: str,
        label: str,
    ) -> object:
        """Draw a line in steps."""
        ...

    def axhline(self, y: float, /, *, color: str, linewidth: float, linestyle: str) -> object:
        """Draw a horizontal line from edge to edge."""
        ...

    def axvline(
        self, x: float, /, *, color: str, linewidth: float, linestyle: str, label: str | None
    ) -> object:
        """Draw a vertical line from edge to edge."""
        ...

    def barh(
        self,
        y: ArrayLike,
        width: ArrayLike,
        /,
        *,
        left: ArrayLike = ...,
        height: float = ...,
        color: str | Sequence[str] | NDArray[np.float32],
        alpha: float = ...,
    ) -> "BarContainer":
        """Draw bars that lie."""
        ...

    def bar_label(
        self,
        container: "BarContainer",
        labels: Sequence[str] = ...,
        /,
        *,
        fmt: str = ...,
        padding: float = ...,
        fontsize: str = ...,
    ) -> object:
        """Write at the bars' ends."""
        ...

    def imshow(
        self,
        X: ArrayLike,
        /,
        *,
        extent: tuple[float, float, float, float] = ...,
        interpolation: str = ...,
        cmap: str = ...,
        aspect: Literal["auto"] = ...,
    ) -> object:
        """Show a picture."""
        ...

    def text(
        self,
        x: float,
        y: float,
        s: str,
        /,
        *,
        ha: str = ...,
        va: str = ...,
        color: str = ...,
        fontsize: str | float = ...,
        transform: "Transform" = ...,
    ) -> object:
        """Write at a point."""
        ...

    def annotate(
        self,
        text: str,
        xy: tuple[float, float],
        /,
        *,
        xytext: tuple[float, float],
        textcoords: str,
        color: str,
        fontsize: float,
    ) -> object:
        """Write beside a point."""
        ...


class Chart(Protocol):
    """A figure, which needs no screen."""

    @overload
    def subplots(self) -> Axes:
        """Make axes: one, or rows and columns of them."""
        ...

    @overload
    def subplots(
        self, nrows: int, ncols: int, /, *, sharey: bool = ..., squeeze: bool = ...
    ) -> NDArray[np.object_]: ...
    def add_axes(self, rect: tuple[float, float, float, float], /) -> Axes:
        """Make axes at shares of the width and height."""
        ...

    def text(self, x: float, y: float, s: str, /, *, va: str = ...) -> "Text":
        """Write at shares of the width and height."""
        ...

    def suptitle(self, t: str, /) -> object:
        """Write a title above all."""
        ...

    def legend(
        self, *, handles: Iterable["Patch"], loc: Literal["outside lower center"], ncols: int
    ) -> object:
        """Explain the colours beside the axes."""
        ...

    def savefig(self, fname: Path, /, *, dpi: float) -> None:
        """Write the figure to a file."""
        ...


def check_charts() -> None:
    """Raise `UnavailableError` where charts cannot be drawn, before the work that they show."""
    if find_spec("matplotlib") is None:
        raise UnavailableError(
            "matplotlib, which draws curves, is not installed; pip install 'atelier[train]'"
        )


def new_figure(**options: Any) -> Chart:
    """Make an empty figure that needs no screen; `options` are matplotlib's own."""
    check_charts()
    from matplotlib.figure import Figure

    return Figure(**options)
