"""What the training loop and the generator know of a family, and nothing more.

A family is a published method: a folder with `config.py` (torch-free, what a person may choose)
and `method.py` (networks, losses, trainer, sampler).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

if TYPE_CHECKING:  # the command line reads configs, and must not wait for torch
    import torch
    from torch import Tensor, nn


def _number_from_text(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


WholeNumber = BeforeValidator(_number_from_text)
"""Goes with a Literal of numbers, so that a flag's text will do; the contracts have the same."""


class FamilyConfig(BaseModel):
    """The numbers that fix a family's networks and training; they travel with the weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int = Field(default=64, ge=1, description="Images in a batch.")

    @classmethod
    def adapted(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Options for a training that starts from a model of this config; most are its own."""
        return config

    def check_resolution(self, resolution: int) -> None:
        """Raise `ValueError` for a side of images, in pixels, that the networks cannot make."""


class FamilyOptions(BaseModel):
    """What a person may choose when a model of the family generates."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Shape:
    """What the collection decides about a family's networks."""

    resolution: int
    """Side of the square images, pixels."""
    num_styles: int
    """How many style labels there are."""


Trouble = Literal["not a number", "divergence", "collapse", "over-fitting"]
"""What can be seen to go wrong in a training; the guardian's figures say when."""


class FamilyTrainer(Protocol):
    """One training of a family: it owns networks and optimisers, the loop owns everything else."""

    network: nn.Module
    """The network worth sampling; the loop averages its weights (EMA)."""

    def step(self, images: Tensor, labels: Tensor, accumulate: int) -> dict[str, Tensor]:
        """Learn from one batch.

        `images` float32 (N, 3, S, S) in [-1, 1] and `labels` int64 (N,) are on the trainer's
        device; their gradients are taken in `accumulate` equal parts and make one update. Returns
        scalars by name, detached: 'generator_loss', 'discriminator_loss', 'real_score', …
        """
        ...

    def scores(self, images: Tensor, labels: Tensor) -> Tensor | None:
        """How real the opponent finds images (N, 3, S, S): (N,), or None where there is none."""
        ...

    def remedy(self, trouble: Trouble) -> str:
        """Change what may help against a trouble, for the rest of the training.

        Returns what was changed, in words for a person; '' where the family knows no remedy.
        """
        ...

    def companions(self) -> dict[str, nn.Module]:
        """Networks besides `network` that another training can start from, by name."""
        ...

    def start_from(
        self,
        weights: Mapping[str, Tensor],
        companions: Mapping[str, Mapping[str, Tensor]],
        styles: Sequence[int | None],
        config: FamilyConfig,
    ) -> None:
        """Take a trained model's weights as the first ones, before the first step.

        `styles` has, for each style label of this training, its label there, or None where it is
        new; `config` is that model's. Raises `ValueError` or `RuntimeError` where the networks have
        another shape.
        """
        ...

    def state_dict(self) -> dict[str, object]:
        """All that is needed to go on exactly: networks, optimisers, counters. Nested dicts."""
        ...

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from `state_dict()`."""
        ...


class FamilySampler(Protocol):
    """A trained network that makes pictures."""

    def sample(self, seeds: Sequence[int], styles: Tensor, options: FamilyOptions) -> Tensor:
        """One picture a seed: float32 (n, 3, S, S) in [-1, 1], on the CPU.

        `styles` float32 (n, K) says how much of each style, rows summing to 1. Each picture
        depends on its seed, its row and the options alone, whatever else is in the call.
        """
        ...


@dataclass(frozen=True)
class Inputs:
    """What pictures are made from besides a seed; None where it was not given."""

    prompt: str | None = None
    sketch: Tensor | None = None
    """Float32 (1, S, S) in [0, 1] at the model's resolution: 1 where something is drawn."""
    source: Tensor | None = None
    """A picture: float32 (3, H, W) in [-1, 1], of any size."""
    towards_source: Tensor | None = None
    """A second picture, of any size, for a family that goes from one to another."""
    mask: Tensor | None = None
    """Float32 (1, H, W) in [0, 1], of the source's size: 1 where it is made anew."""
    has_own_style: bool = False
    """No style was asked for, the source's own is meant; `styles` holds as much of each then."""
    tell: Callable[[int, int], None] | None = None
    """Told the steps done and their number, by a sampler that is long about one picture."""


InputKind = Literal["prompt", "sketch", "source", "towards_source", "mask"]
INPUT_KINDS: tuple[InputKind, ...] = get_args(InputKind)


class GuidedSampler(FamilySampler, Protocol):
    """A sampler that can be given more than a seed: a drawing, a picture, words."""

    def sample_from(
        self, seeds: Sequence[int], styles: Tensor, options: FamilyOptions, inputs: Inputs
    ) -> Tensor:
        """As `sample`, made from the inputs; the pictures may have the source's size.

        Raises `ValueError` for inputs that it cannot work with.
        """
        ...


class Method(Protocol):
    """A family's `method.py`, seen as a module."""

    def build_trainer(
        self,
        config: FamilyConfig,
        shape: Shape,
        device: torch.device,
        dtype: torch.dtype,
        rng: torch.Generator,
    ) -> FamilyTrainer:
        """A fresh trainer; first weights and all later noise come from `rng`, on the CPU."""
        ...

    def build_network(self, config: FamilyConfig, shape: Shape) -> nn.Module:
        """The network worth sampling, with weights still to be loaded."""
        ...

    def build_sampler(self, network: nn.Module, config: FamilyConfig) -> FamilySampler:
        """A sampler over a network on its device."""
        ...
