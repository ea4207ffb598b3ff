# pyright: standard
"""Common code of all families' trainings: device, precision, parts of a batch, states.

A family's trainer derives from `FamilyTrainer`: it registers its networks with their optimisers,
names the attributes that belong to its state, and writes one learning step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.families.draws import Draws
from components.families.optimisers import load_optimiser
from components.families.port import ConfigT, NetworkT, Shape, Trouble
from components.families.ranks import ALONE, Ranks, synchronise
from components.families.styles import with_styles

Scalars = dict[str, Tensor]
"""Scalars by name, each of shape (): 'generator_loss', 'real_score', …"""


@dataclass(frozen=True)
class Machine:
    """Device and precision of a training, and the source of its randomness."""

    device: torch.device
    dtype: torch.dtype
    """Arithmetic of the networks; weights and updates are float32 always."""
    rng: torch.Generator
    """Generator of random numbers, on the CPU, so that a seed means the same on every device."""
    ranks: Ranks = ALONE
    """The processes that share each batch."""

    @property
    def draws(self) -> Draws:
        """Random numbers for this rank's rows of a batch, on the CPU."""
        return Draws(self.rng, self.ranks)

    def autocast(self) -> torch.autocast:
        """Compute what lies within in the machine's arithmetic."""
        is_reduced = self.dtype is not torch.float32
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=is_reduced)

    def normal(self, *shape: int, axis: int = 0) -> Tensor:
        """Draw from Normal(0, 1), on the device; `axis` of the shape counts the images."""
        return self.draws.normal(*shape, axis=axis).to(self.device)

    def uniform(self, *shape: int) -> Tensor:
        """Draw from [0, 1), on the device."""
        return self.draws.uniform(*shape).to(self.device)


class FamilyTrainer(ABC, Generic[ConfigT]):
    """One training of a family: it owns networks and optimisers, the loop owns everything else."""

    network: nn.Module
    """The network worth sampling; the loop averages its weights (EMA)."""

    counters: tuple[str, ...] = ()
    """Attributes that are saved besides networks and optimisers: numbers, tensors, or lists and
    dicts of them, or objects with `state_dict` and `load_state_dict`."""

    style_table: ClassVar[str] = ""
    """Name of the weight (D, styles) that holds what a network knows of each style; '' for none."""

    average_ramp_up = 0.05
    """Largest half-life of the averaged weights as a share of the images seen; see
    `components.training.ema`."""

    def __init__(self, config: ConfigT, shape: Shape, machine: Machine) -> None:
        self.config = config
        self.shape = shape
        self.machine = machine
        self.networks: dict[str, nn.Module] = {}
        self.optimisers: dict[str, torch.optim.Optimizer] = {}

    # ------------------------------------------------------------ what a family writes

    @abstractmethod
    def step(self, images: Tensor, labels: Tensor, accumulate: int) -> Scalars:
        """Learn from one batch.

        `images` float32 (N, 3, S, S) in [-1, 1] and `labels` int64 (N,) are on the machine's
        device; their gradients are taken in `accumulate` equal parts and make one update. Of a
        batch that several ranks share, they are this rank's rows; the update is the whole batch's.
        Returns scalars, detached, among them the losses that the family declares.
        """

    @abstractmethod
    def remedy(self, trouble: Trouble) -> str:
        """Change what may help against a trouble, for the rest of the training.

        Returns what was changed, in words for a person; '' where the family knows no remedy.
        """

    def scores(self, images: Tensor, labels: Tensor) -> Tensor | None:
        """Score how real the opponent finds images (N, 3, S, S): (N,), or None without opponent."""
        return None

    # ------------------------------------------------------------ what a step is made of

    def add(
        self,
        name: str,
        network: NetworkT,
        optimiser: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        memory_format: torch.memory_format = torch.channels_last,
    ) -> NetworkT:
        """Register a network with its optimiser, on the machine's device."""
        synchronise(network, self.machine.ranks)
        in_memory_format(network.to(self.machine.device), memory_format)
        self.networks[name] = network
        self.optimisers[name] = optimiser(network.parameters())
        return network

    @contextmanager
    def update(self, name: str, max_norm: float | None = None) -> Generator[None]:
        """Update a network by the gradients that are taken within, averaged over the ranks.

        Their norm is cut to `max_norm`.
        """
        self.optimisers[name].zero_grad(set_to_none=True)
        yield
        self.machine.ranks.average_gradients(self.networks[name].parameters())
        if max_norm is not None:
            nn.utils.clip_grad_norm_(self.networks[name].parameters(), max_norm)
        self.optimisers[name].step()

    def accumulate(
        self,
        parts: Sequence[tuple[Tensor, ...]],
        losses: Callable[..., tuple[Tensor, Scalars]],
    ) -> Scalars:
        """Take the mean gradient over the parts of a batch; returns the whole batch's scalars.

        `losses(*part)` returns the loss to differentiate and the scalars to report.
        """
        sums: Scalars = {}
        for part in parts:
            with self.machine.autocast():
                loss, found = losses(*part)
            (loss / len(parts)).backward()
            for name, value in found.items():
                share = value.detach() / len(parts)
                sums[name] = sums[name] + share if name in sums else share
        return self.machine.ranks.means(sums)

    def count_of(self, rows: Tensor) -> int:
        """Number of images in the whole batch, of which these (n, …) are this rank's."""
        return len(rows) * self.machine.ranks.count

    def one_hot(self, labels: Tensor) -> Tensor:
        """Turn labels (N,) into rows of styles (N, K)."""
        return F.one_hot(labels, self.shape.num_styles).float()

    def set_learning_rate(self, name: str, rate: float) -> None:
        """Set the learning rate of a network's optimiser."""
        for group in self.optimisers[name].param_groups:
            group["lr"] = rate

    def learning_rate(self, name: str) -> float:
        """Return the learning rate of a network's optimiser."""
        return self.optimisers[name].param_groups[0]["lr"]

    # ------------------------------------------------------------ what a training begins with

    def companions(self) -> dict[str, nn.Module]:
        """Networks besides `network` that another training can start from, by name."""
        return {name: n for name, n in self.networks.items() if n is not self.network}

    def start_from(
        self,
        weights: Mapping[str, Tensor],
        companions: Mapping[str, Mapping[str, Tensor]],
        styles: Sequence[int | None],
        config: ConfigT,
    ) -> None:
        """Take a trained model's weights as the first ones, before the first step.

        `styles` has, for each style label of this training, its label there, or None where it is
        new; `config` is that model's. Raises `ValueError` or `RuntimeError` where the networks have
        another shape.
        """
        known = {name: n for name, n in self.companions().items() if name in companions}
        self.network.load_state_dict(self.first_weights(weights, styles, config))
        for name, network in known.items():
            network.load_state_dict(self.companion_weights(companions[name], styles, config))

    def first_weights(
        self, weights: Mapping[str, Tensor], styles: Sequence[int | None], config: ConfigT
    ) -> Mapping[str, Tensor]:
        """Fit a trained network's weights to this training's styles.

        A style that is new to it begins as the mean of those it knows.
        """
        if self.style_table not in weights:
            return weights
        return with_styles(weights, self.style_table, styles)

    def companion_weights(
        self, weights: Mapping[str, Tensor], styles: Sequence[int | None], config: ConfigT
    ) -> Mapping[str, Tensor]:
        """Fit a companion's weights to this training's styles; as the network's, unless said."""
        return self.first_weights(weights, styles, config)

    # ------------------------------------------------------------ the state

    def state_dict(self) -> dict[str, object]:
        """Collect all that is needed to go on exactly; the noise's state is the loop's."""
        return {
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "optimisers": {name: each.state_dict() for name, each in self.optimisers.items()},
            "counters": {name: _saved(getattr(self, name)) for name in self.counters},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`, also one that version 0.2 saved."""
        known = state if "counters" in state else self._sorted(state)
        for name, network in self.networks.items():
            network.load_state_dict(known["networks"][name])
            load_optimiser(self.optimisers[name], known["optimisers"][name])
        for name in self.counters:
            value = _restored(getattr(self, name), known["counters"][name], self.machine.device)
            setattr(self, name, value)

    def _sorted(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """A state of version 0.2, which had networks, optimisers and counters side by side."""
        networks = state.get("networks", state)
        optimisers = state.get("optimisers") or dict.fromkeys(self.optimisers, state["optimiser"])
        return {
            "networks": {name: networks[name] for name in self.networks},
            "optimisers": optimisers,
            "counters": {name: state[name] for name in self.counters},
        }


def in_memory_format(network: NetworkT, memory_format: torch.memory_format) -> NetworkT:
    """Lay a network's convolutions out in a memory format, in place."""
    return network.to(memory_format=memory_format)  # type: ignore[call-overload]


@contextmanager
def frozen(network: nn.Module) -> Generator[None]:
    """Let gradients pass through a network, but take none of its own weights."""
    network.requires_grad_(False)
    yield
    network.requires_grad_(True)


def parts_of(accumulate: int, *rows: Tensor) -> list[tuple[Tensor, ...]]:
    """Split tensors (N, …) alike into `accumulate` parts, each of every `accumulate`-th row.

    So a part of the whole batch is the same rows whether one process has them or several ranks do.
    """
    return [
        tuple(_every(tensor, place, accumulate) for tensor in rows) for place in range(accumulate)
    ]


def _every(rows: Tensor, place: int, count: int) -> Tensor:
    """The rows `place`, `place + count`, …, laid out in memory as all are."""
    part = rows[place::count]
    if rows.ndim == 4 and rows.is_contiguous(memory_format=torch.channels_last):
        return part.contiguous(memory_format=torch.channels_last)
    return part.contiguous()


def rate_factor(trouble: Trouble) -> float:
    """Factor on the learning rate against a trouble: a tenth where numbers ran away, else half."""
    return 0.1 if trouble in ("not a number", "divergence") else 0.5


@runtime_checkable
class _Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any], /) -> None: ...


def _saved(value: object) -> object:
    if isinstance(value, _Stateful):
        return value.state_dict()
    if isinstance(value, dict):
        return {name: _saved(item) for name, item in value.items()}
    return [_saved(item) for item in value] if isinstance(value, list | tuple) else value


def _restored(current: object, saved: Any, device: torch.device) -> object:
    """A saved attribute in the place of the current one; tensors copied to the device."""
    if isinstance(current, _Stateful):
        current.load_state_dict(saved)
        return current
    if isinstance(current, tuple):
        return tuple(_restored(*pair, device) for pair in zip(current, saved, strict=True))
    return _copied(saved, device)


def _copied(saved: Any, device: torch.device) -> Any:
    if isinstance(saved, Tensor):
        return saved.to(device, copy=True)
    if isinstance(saved, dict):
        return {name: _copied(item, device) for name, item in saved.items()}
    return [_copied(item, device) for item in saved] if isinstance(saved, list) else saved
