"""Transfer of what a network learnt about its styles to a training that knows others."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def with_styles(
    weights: Mapping[str, Tensor], name: str, styles: Sequence[int | None]
) -> dict[str, Tensor]:
    """The weights, the columns (one a style) of the table `name` in the order of `styles`.

    A style that is new to the table (None) begins as the mean of those it knows.
    """
    table = weights[name]  # (D, styles)
    columns = [table.mean(dim=1) if place is None else table[:, place] for place in styles]
    return {**weights, name: torch.stack(columns, dim=1)}
