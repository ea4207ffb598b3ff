# pyright: standard
"""Several processes that train one model: what they exchange, so that they compute as one would.

Each process (a rank) holds the whole model and computes its rows of each batch. Whatever one
process would compute over the whole batch (gradients, statistics, scalars) is the mean over the
ranks, which have equally many rows each.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from interfaces.errors import UnavailableError


class PeerLostError(UnavailableError):
    """Another process of the training has ended, or cannot be reached."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a training, and which of them this one is."""

    index: int = 0
    count: int = 1

    @property
    def is_alone(self) -> bool:
        """Whether one process trains by itself; then nothing is exchanged."""
        return self.count == 1

    def rows(self, whole: Tensor, axis: int = 0) -> Tensor:
        """The rank's rows of what belongs to a whole batch: a view, along `axis`."""
        share = whole.shape[axis] // self.count
        return whole.narrow(axis, self.index * share, share)

    def mean(self, value: Tensor) -> Tensor:
        """Average a tensor of one shape over the ranks; gradients pass, also twice."""
        return value if self.is_alone else _Sum.apply(value) / self.count

    def means(self, scalars: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Average scalars of shape () by name, which are the same names on every rank."""
        if self.is_alone or not scalars:
            return dict(scalars)
        together = self.mean(torch.stack([value.detach().float() for value in scalars.values()]))
        return dict(zip(scalars, together.unbind(), strict=True))

    def gather(self, rows: Tensor) -> list[Tensor]:
        """Collect every rank's rows (n, …), in the ranks' order; n may differ between them."""
        if self.is_alone:
            return [rows]
        counts = self._gathered(torch.tensor([len(rows)], device=rows.device))
        longest = max(int(count) for count in counts)
        padded = torch.cat([rows, rows.new_zeros(longest - len(rows), *rows.shape[1:])])
        parts = self._gathered(padded.contiguous())
        return [part[: int(count)] for part, count in zip(parts, counts, strict=True)]

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give each parameter the ranks' mean gradient; one that no rank has a gradient of, none.

        All travel in one vector. A rank without a gradient (no image of a style, say) counts as 0.
        """
        if self.is_alone:
            return
        known = list(parameters)
        flat = [torch.zeros_like(p) if p.grad is None else p.grad for p in known]
        has_one = torch.tensor([float(p.grad is not None) for p in known], device=known[0].device)
        summed = _summed(torch.cat([*(grad.flatten() for grad in flat), has_one]))
        *means, votes = summed.split([*(p.numel() for p in known), len(known)])
        for parameter, mean, vote in zip(known, means, votes.tolist(), strict=True):
            if vote:  # laid out in memory as the weights are, which the fused optimisers rely on
                gradient = torch.empty_like(parameter)
                parameter.grad = gradient.copy_(mean.view_as(parameter) / self.count)

    def tell(self, data: bytes) -> None:
        """Send bytes from rank 0 to the others, which `hear` them."""
        self._broadcast(torch.tensor([len(data)]))
        if data:
            self._broadcast(torch.frombuffer(bytearray(data), dtype=torch.uint8))

    def hear(self) -> bytes:
        """Wait for rank 0's next instruction."""
        length = int(self._broadcast(torch.zeros(1, dtype=torch.int64)))
        if not length:
            return b""
        return self._broadcast(torch.empty(length, dtype=torch.uint8)).numpy().tobytes()

    def _broadcast(self, tensor: Tensor) -> Tensor:
        with _in_one_line():
            distributed.broadcast(tensor, src=0)
        return tensor

    def _gathered(self, tensor: Tensor) -> list[Tensor]:
        parts = [torch.empty_like(tensor) for _ in range(self.count)]
        with _in_one_line():
            distributed.all_gather(parts, tensor)
        return parts


ALONE = Ranks()
"""One process by itself."""


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation by the statistics of the whole batch, on any device.

    torch's own (`nn.SyncBatchNorm`) needs a GPU. Gradients pass through the statistics, also twice.
    """

    ranks = ALONE

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) => the same shape; in evaluation by the running statistics, as ever."""
        if not self.training or self.ranks.is_alone:
            return super().forward(input)
        features = input.float()
        mean = self.ranks.mean(features.mean(dim=(0, 2, 3)))
        centred = features - mean[:, None, None]
        variance = self.ranks.mean(centred.square().mean(dim=(0, 2, 3)))
        self._follow(mean.detach(), variance.detach(), features.numel() // features.shape[1])
        normal = centred * (variance + self.eps).rsqrt()[:, None, None]
        return (normal * self.weight[:, None, None] + self.bias[:, None, None]).to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics; their variance is the unbiased one."""
        whole = count * self.ranks.count
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * whole / (whole - 1), self.momentum)
        self.num_batches_tracked += 1


def synchronise(network: nn.Module, ranks: Ranks) -> None:
    """Make a network's batch normalisations use the whole batch's statistics, in place."""
    if ranks.is_alone:
        return
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm2d:
                taken = SynchronisedBatchNorm(child.num_features, child.eps, child.momentum)
                taken.load_state_dict(child.state_dict())
                taken.ranks = ranks
                setattr(parent, name, taken.to(child.weight.device))


class _Sum(torch.autograd.Function):
    """The sum over the ranks; so is its gradient, since every rank's loss hangs on it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return _summed(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Sum.apply(gradients[0])


def _summed(value: Tensor) -> Tensor:
    whole = value.detach().clone(memory_format=torch.contiguous_format)
    with _in_one_line():
        distributed.all_reduce(whole)
    return whole


@contextmanager
def _in_one_line() -> Generator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo's and NCCL's word for a peer that is gone
        raise PeerLostError(
            f"rank {distributed.get_rank()}: another process of this training has ended or cannot "
            f"be reached ({str(error).strip().splitlines()[-1][:120]}); start them again with "
            "--resume, to go on from the last saved state"
        ) from error
