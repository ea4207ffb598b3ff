"""Charts: the one place that imports matplotlib, which only trainings and studies need."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from interfaces.errors import UnavailableError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_charts() -> None:
    """Raise `UnavailableError` where charts cannot be drawn, before the work that they show."""
    if find_spec("matplotlib") is None:
        raise UnavailableError(
            "matplotlib, which draws curves, is not installed; pip install 'atelier[train]'"
        )


def new_figure(**options: Any) -> "Figure":
    """Make an empty figure that needs no screen; `options` are matplotlib's own."""
    check_charts()
    from matplotlib.figure import Figure

    return Figure(**options)
