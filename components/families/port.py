"""Port of a family: all that the training loop and the generator know of it.

A family is a published method: a folder with `config.py` (torch-free, the settings) and
`method.py` (networks, losses, trainer, sampler; a larger one has files of their own for these).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field

from interfaces.idle import Need, idle

if TYPE_CHECKING:  # the command line reads configs, and must not wait for torch
    from torch import Tensor, nn

    from components.families.trainer import FamilyTrainer, Machine


class _Settings(BaseModel):
    """Values that cannot change, and no others than those that are named."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def needs(self, given: Collection[str] = ()) -> Mapping[str, Need]:
        """Needs of the fields that have no effect by themselves, by the field's name.

        `given` names what is asked for besides: 'source', 'style'.
        """
        return {}

    def idle(self, given: Collection[str] = ()) -> list[str]:
        """Settings that were chosen but have no effect beside the rest, each in a sentence."""
        return idle(self, self.needs(given))


class FamilyConfig(_Settings):
    """The numbers that fix a family's networks and training; they travel with the weights."""

    batch_size: int = Field(default=64, ge=1, description="Images in a batch.")

    @classmethod
    def adapted(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Options for a training that starts from a model of this config: mostly its own.

        `completed` adds those that depend on what it is to learn.
        """
        return config

    @classmethod
    def completed(cls, options: dict[str, Any], is_familiar: Callable[[], bool]) -> dict[str, Any]:
        """Options of a training that starts from a model, with those that depend on its pictures.

        `is_familiar` tells whether the model learnt from works like them, and brings its
        companions. What was chosen stays.
        """
        return options

    @classmethod
    def left_open(cls, options: dict[str, Any]) -> set[str]:
        """Names of the options that `completed` adds to these."""
        return cls.completed(options, lambda: False).keys() - options.keys()

    @classmethod
    def grown(cls, config: dict[str, Any]) -> dict[str, Any] | None:
        """Options for a training at twice the resolution that starts from a model of this config.

        None where a model of it cannot grow.
        """
        return None

    def made_styles(self, num_styles: int) -> Sequence[int]:
        """The styles that a training learns to make, of those that its collection has."""
        return range(num_styles)

    def check_resolution(self, resolution: int) -> None:
        """Raise `ValueError` for a side of images, in pixels, that the networks cannot make."""


class FamilyOptions(_Settings):
    """Options for generating with a model of the family."""

    def for_rework(self) -> Self:
        """The same, with what suits a person's own picture where nothing was chosen for it."""
        return self


ConfigT = TypeVar("ConfigT", bound=FamilyConfig)
OptionsT = TypeVar("OptionsT", bound=FamilyOptions)
OptionsT_co = TypeVar("OptionsT_co", bound=FamilyOptions, covariant=True)
OptionsT_contra = TypeVar("OptionsT_contra", bound=FamilyOptions, contravariant=True)
NetworkT = TypeVar("NetworkT", bound="nn.Module")


@dataclass(frozen=True)
class Shape:
    """Shape of a family's networks, as far as the collection decides it."""

    resolution: int
    """Side of the square images, pixels."""
    num_styles: int
    """Number of style labels."""


Trouble = Literal["not a number", "divergence", "collapse", "over-fitting"]
"""Trouble that can be seen in a training; the guardian's figures say when."""


@dataclass(frozen=True)
class Loss:
    """A loss as the family's trainer reports it, for the curves and the guardian."""

    name: str
    """Key among the scalars that `step` returns."""
    label: str
    """Name on the curves."""
    limit: float | None = 10_000.0
    """Largest absolute value before the training counts as diverged.

    None where the usual size depends on the images' size; a rise is judged all the same.
    """
    formerly: str = ""
    """Name in trainings of earlier versions."""


ADVERSARIAL = (
    Loss("generator_loss", "generator"),
    Loss("discriminator_loss", "discriminator"),
)
"""Losses of a generator and its discriminator."""


@dataclass(frozen=True)
class Inputs:
    """Inputs that pictures are made from besides a seed; None where one was not given."""

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
    """No style was asked for: use the source's own. `styles` is then uniform."""


InputKind = Literal["prompt", "sketch", "source", "towards_source", "mask"]
INPUT_KINDS: tuple[InputKind, ...] = get_args(InputKind)


def unheard(done: int, total: int) -> None:
    """Ignore how many of a picture's steps are done."""


@dataclass(frozen=True)
class Request(Generic[OptionsT_co]):
    """Pictures to make, one for each seed."""

    seeds: Sequence[int]
    styles: Tensor
    """Float32 (n, K): how much of each style; rows sum to 1."""
    options: OptionsT_co
    inputs: Inputs = Inputs()
    tell: Callable[[int, int], None] = unheard
    """Called with the steps done and their number, by a sampler that needs many for one picture."""


class FamilySampler(Protocol[OptionsT_contra]):
    """A trained network that makes pictures."""

    def sample(self, request: Request[OptionsT_contra], /) -> Tensor:
        """Make one picture for each seed: float32 (n, 3, H, W) in [-1, 1], on the CPU.

        H and W are the model's resolution, or follow the source. Each picture depends on its seed,
        its row of styles, the options and the inputs alone, whatever else is in the call. Raises
        `ValueError` for inputs or options that the family cannot work with.
        """
        ...


@dataclass(frozen=True)
class Graph:
    """A network as a function of tensors alone, to be carried into other programs."""

    module: nn.Module
    """In evaluation mode, on the CPU; it returns pictures (N, 3, H, W) float32, about [-1, 1]."""
    inputs: Mapping[str, Sequence[int | str]]
    """Shapes of its inputs, float32, in the arguments' order; a side that varies has a name."""


def no_graphs(network: nn.Module, config: FamilyConfig, shape: Shape) -> Mapping[str, Graph]:
    """Return no graphs: the family's networks are exported in another way, or not at all."""
    return {}


@dataclass(frozen=True)
class Method(Generic[ConfigT, OptionsT, NetworkT]):
    """Builders of a family's trainer, networks, sampler and graphs: `METHOD` in its `method.py`."""

    build_trainer: Callable[[ConfigT, Shape, Machine], FamilyTrainer[ConfigT]]
    """A fresh trainer. Its first weights and all later noise come from the machine's generator."""
    build_network: Callable[[ConfigT, Shape], NetworkT]
    """The network worth sampling, with weights still to be loaded."""
    build_sampler: Callable[[NetworkT, ConfigT], FamilySampler[OptionsT]]
    """A sampler over a network on its device."""
    build_graphs: Callable[[NetworkT, ConfigT, Shape], Mapping[str, Graph]] = no_graphs
    """Graphs that `export` carries into other programs, by name; none where that makes no sense."""
