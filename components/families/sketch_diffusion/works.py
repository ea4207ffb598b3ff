# pyright: standard
"""Representations of the works that a model learnt from: its new pictures begin near them.

Representation-conditioned generation (Li, Katabi, He 2023, arXiv 2312.03701): the network is told
what a picture is like, by 64 numbers, and has less to guess. Where the paper trains a second model
to draw those numbers, new pictures take a point beyond a work, seen from the one most like it, so
that none begins at a work itself. Points between the two would do as well, but the network keeps to
the middle of what it is told: such pictures vary less than the works (docs/studies/diffusion.md).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.common.encoder import Representation

MEMORY = 4096
"""Works whose representations travel with the weights: 0.5 MB in half precision."""
CANDIDATES = 64
"""Works that are looked at for one that is alike."""
MIN_DISTANCE = 2.0
"""Distance between two works; nearer ones are one picture, mirrored or learnt from twice."""
BEYOND = 0.25
"""Distance from a work at which a picture begins, as a share of that to the work most like it."""
MEMORISED = ("codes", "styles", "count")
"""Memory of `Works` for single works; another training begins without it."""


class Works(nn.Module):
    """Representations of the works learnt from last, and the layers that tell one to a network."""

    codes: Tensor
    styles: Tensor
    count: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(Representation.SIZE, width)
        self.last = nn.Linear(width, width)
        self.register_buffer("codes", torch.zeros(MEMORY, Representation.SIZE))
        self.register_buffer("styles", torch.zeros(MEMORY, dtype=torch.int64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, codes: Tensor) -> Tensor:
        """Representations (N, 64), rows of 0 for none => (N, width), 0 for none."""
        is_known = (codes != 0).any(dim=1, keepdim=True)
        return self.last(F.silu(self.inner(codes))) * is_known

    @property
    def is_full(self) -> bool:
        """Whether a further work would take the place of another."""
        return int(self.count) >= MEMORY

    @torch.no_grad()
    def remember(self, codes: Tensor, labels: Tensor) -> None:
        """Keep the representations (N, 64) of works with their styles (N,), in place of the oldest.

        `count` is how many were ever seen.
        """
        places = (self.count + torch.arange(len(codes), device=self.count.device)) % MEMORY
        self.codes[places] = codes.to(self.codes)
        self.styles[places] = labels.to(self.styles)
        self.count += len(codes)

    @torch.no_grad()
    def draw(self, style: Tensor, rng: torch.Generator) -> Tensor:
        """A new representation (64,) in a style (K,), whose weights sum to 1, by `rng` on the CPU.

        A work's, moved away from the one most like it among some; all 0 where none is known.
        """
        known = min(int(self.count), MEMORY)
        weights = style.cpu()[self.styles[:known].cpu()]
        if not weights.any():
            return self.codes.new_zeros(Representation.SIZE).cpu()
        drawn = torch.multinomial(weights, 1 + CANDIDATES, replacement=True, generator=rng)
        codes = self.codes[drawn.to(self.codes.device)].float().cpu()
        work, others = codes[0], codes[1:]
        distances = (others - work).norm(dim=1)
        distances[distances < MIN_DISTANCE] = torch.inf
        nearest = int(distances.argmin())
        if distances[nearest].isinf():  # it knows one work alone
            return work
        return work + BEYOND * (work - others[nearest])
