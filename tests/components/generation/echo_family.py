"""A family that shows what it was given: its pictures are its inputs, told apart by a seed."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from components.families.port import FamilyConfig, FamilyOptions, Inputs, Shape


class Sampler:
    """The last inputs are kept, for a test to look at."""

    seen: ClassVar[list[Inputs]] = []

    def sample(self, seeds: Sequence[int], styles: Tensor, options: FamilyOptions) -> Tensor:
        raise AssertionError("a guided family is asked through sample_from")

    def sample_from(
        self, seeds: Sequence[int], styles: Tensor, options: FamilyOptions, inputs: Inputs
    ) -> Tensor:
        self.seen.append(inputs)
        if inputs.prompt == "impossible":
            raise ValueError("this cannot be drawn")
        if inputs.prompt == "slowly" and inputs.tell is not None:
            inputs.tell(1, 2)
        assert inputs.source is not None
        return torch.stack([inputs.source * (1 - seed / 10) for seed in seeds])


def build_network(config: FamilyConfig, shape: Shape) -> nn.Module:
    return nn.Identity()


def build_sampler(network: nn.Module, config: FamilyConfig) -> Sampler:
    return Sampler()
