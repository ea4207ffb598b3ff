# pyright: standard
"""Sketch-guided diffusion: paper 004's method, its baseline, and a better one.

Read on in this order: `noise`, `strokes`, `network`, `trainer`, `solvers`, `sampler`.

The four conditionings of the config:

- `none`: «random noise … laid over the input picture with a random level of intensity». Pictures
  are made «from a random set of noises», and a drawing is refused.
- `noised_image`: trained as `none`, to the bit. Begins with the drawing «with noises laid over it
  of decreasing intensity», at the one chosen; this is SDEdit (Meng et al. 2021, arXiv 2108.01073).
- `radius_mask`: the paper's method, see `strokes.masked`. «Instead of the usual laying of random
  noises … masks of noises with a randomly chosen radius and varying intensity were used, while the
  other stages of training stayed unchanged.»
- `guided`: ours. Noise everywhere, so that everything can vary; the strokes are shown to the
  network as two further channels, see `strokes.hints_of`.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from components.common.encoder import Representation
from components.families.port import Graph, Method, Shape
from components.families.sketch_diffusion.config import SketchDiffusionConfig
from components.families.sketch_diffusion.network import Denoiser
from components.families.sketch_diffusion.sampler import Sampler
from components.families.sketch_diffusion.trainer import Trainer


class _Unguided(nn.Module):
    """A denoiser that is shown no strokes, without the empty input for them."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(
        self, noisy: Tensor, t: Tensor, styles: Tensor, mask: Tensor, codes: Tensor | None = None
    ) -> Tensor:
        return self.denoiser(noisy, t, styles, mask, noisy[:, :0], codes)


def build_graphs(
    network: Denoiser, config: SketchDiffusionConfig, shape: Shape
) -> dict[str, Graph]:
    """One step: pictures under noise => what they may be; whoever samples takes many."""
    side = shape.resolution
    inputs: dict[str, Sequence[int | str]] = {
        "noisy": ("N", 3, side, side),
        "t": ("N",),
        "styles": ("N", shape.num_styles),
        "mask": ("N", 1, side, side),
    }
    if network.num_hints:
        inputs["hints"] = ("N", network.num_hints, side, side)
    if network.works is not None:
        inputs["codes"] = ("N", Representation.SIZE)
    return {"model": Graph(network if network.num_hints else _Unguided(network), inputs)}


METHOD = Method(Trainer, Denoiser, Sampler, build_graphs)
