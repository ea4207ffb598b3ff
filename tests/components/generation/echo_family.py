"""A family that shows what it was given: its pictures are its inputs, told apart by a seed."""

from typing import ClassVar, NoReturn

import torch
from torch import Tensor, nn

from components.families.port import FamilyConfig, FamilyOptions, Inputs, Method, Request, Shape
from components.families.trainer import Machine


class Sampler:
    """The last inputs are kept, for a test to look at."""

    seen: ClassVar[list[Inputs]] = []

    def __init__(self, network: nn.Module, config: FamilyConfig) -> None:
        pass

    def sample(self, request: Request[FamilyOptions]) -> Tensor:
        inputs = request.inputs
        self.seen.append(inputs)
        if inputs.prompt == "impossible":
            raise ValueError("this cannot be drawn")
        if inputs.prompt == "slowly":
            request.tell(1, 2)
        assert inputs.source is not None
        return torch.stack([inputs.source * (1 - seed / 10) for seed in request.seeds])


def no_trainer(config: FamilyConfig, shape: Shape, machine: Machine) -> NoReturn:
    raise AssertionError("nothing is trained here")


def build_network(config: FamilyConfig, shape: Shape) -> nn.Module:
    return nn.Identity()


METHOD = Method(no_trainer, build_network, Sampler)
