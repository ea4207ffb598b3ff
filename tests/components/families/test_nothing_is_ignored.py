"""Every option and hyper-parameter changes something, is refused, or is said to have no effect."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import cache
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin

import pytest
import torch
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from torch import Tensor

from components.families import FAMILIES
from components.families.port import (
    FamilyConfig,
    FamilyOptions,
    FamilySampler,
    InputKind,
    Inputs,
    Request,
)
from components.families.trainer import FamilyTrainer, Machine
from tests.components.families.test_every_family import CPU, SHAPE, TINY, TRAINABLE, batch

STEPS = 6

AT_WORK: dict[str, dict[str, Any]] = {
    "r3gan": {"burn_in_images": 16, "max_channels": 32},
    "sketch_diffusion": {
        "anneal_images": 16,
        "warm_up_images": 8,
        "schedule": "continuous",
        "max_channels": 32,
        "smallest": 4,
    },
    "stylegan2": {"ada_images": 64, "ada_target": -0.6, "channel_base": 128},
    "vae": {"free_bits": 0},
    "cyclegan": {"decay_images": 16, "constant_images": 4, "pool_size": 4},
}
"""Hyper-parameters with which the others matter within `STEPS` batches of four."""

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "stylegan2": [{}, {"mix_seed": 7, "mix_from_layer": 2, "truncation": 0.7}],
    "sketch_diffusion": [{"steps": 12}, {"steps": 12, "source_strength": 0.5}],
    "cyclegan": [{}],
}
"""Options set while each option is changed; other families: none, and a way between seeds."""

CONDITIONINGS = ("none", "noised_image", "radius_mask", "guided")

GIVEN: list[tuple[InputKind, ...]] = [(), ("source",), ("sketch",), ("source", "towards_source")]

Settings = TypeVar("Settings", bound=FamilyConfig | FamilyOptions)


def others(info: FieldInfo, value: Any) -> Iterator[Any]:
    """Values that a field's type may allow, other than this one."""
    kinds = [kind for kind in get_args(info.annotation) if kind is not NoneType]
    is_optional = NoneType in get_args(info.annotation)
    kind = kinds[0] if is_optional else info.annotation
    if get_origin(kind) is Literal:
        yield from (name for name in get_args(kind) if name != value)
    elif kind is bool:
        yield not value
    elif kind is int:
        yield from (value // 2, value * 2, value + 1, value - 1) if value else (16, 3, 1)
    elif kind is float:
        yield from (-value, value / 2, value * 2) if value else (0.4, 3.0, 16.0)
    else:
        raise AssertionError(f"no other value is known of {kind}")


def changed(settings: Settings, name: str) -> Settings:
    """The same, with another valid value of one field."""
    kind = type(settings)
    for value in others(kind.model_fields[name], getattr(settings, name)):
        try:
            return kind.model_validate(settings.model_dump() | {name: value})
        except ValidationError:
            continue
    raise AssertionError(f"{name}: no other value was found")


# ---------------------------------------------------------------- hyper-parameters


def busy(family: str) -> FamilyConfig:
    return FAMILIES[family].config.model_validate(TINY[family] | AT_WORK.get(family, {}))


def training(family: str, config: FamilyConfig) -> Iterator[FamilyTrainer[Any]]:
    """The trainer after each step."""
    machine = Machine(CPU, torch.float32, torch.Generator().manual_seed(0))
    trainer = FAMILIES[family].method().build_trainer(config, SHAPE, machine)
    for step in range(STEPS):
        trainer.step(*batch(step), 1)
        yield trainer


def weights(trainer: FamilyTrainer[Any]) -> Mapping[str, Tensor]:
    networks = {"network": trainer.network, **trainer.companions()}
    return {
        f"{place}.{name}": tensor
        for place, network in networks.items()
        for name, tensor in network.state_dict().items()
    }


@cache
def unchanged_weights(family: str) -> list[Mapping[str, Tensor]]:
    """The usual training's weights after each step."""
    return [deepcopy(weights(trainer)) for trainer in training(family, busy(family))]


def are_equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        tensor.shape == other[name].shape and torch.equal(tensor, other[name])
        for name, tensor in one.items()
    )


@pytest.mark.parametrize(
    ("family", "name"),
    [
        pytest.param(family, name, id=f"{family}-{name}")
        for family in TRAINABLE
        for name in FAMILIES[family].config.model_fields
        if name != "batch_size"  # what the training loop hands over
    ],
)
def test_a_hyper_parameter_changes_the_training_or_is_said_to_have_no_effect(
    family: str, name: str
) -> None:
    config = changed(busy(family), name)
    try:
        config.check_resolution(SHAPE.resolution)
        steps = zip(training(family, config), unchanged_weights(family), strict=True)
        has_no_effect = all(are_equal(weights(trainer), usual) for trainer, usual in steps)
    except (ValueError, IndexError):
        return  # refused
    assert has_no_effect == any(line.startswith(f"{name}: ") for line in config.idle())


# ---------------------------------------------------------------- options


@cache
def sampler(family: str, conditioning: str | None) -> FamilySampler[Any]:
    config = busy(family)
    if conditioning is not None:
        told = {"conditioning": conditioning, "representation": "embedded"}
        config = type(config).model_validate(config.model_dump() | told)
    *_, trainer = training(family, config)
    return FAMILIES[family].method().build_sampler(trainer.network, config)


def inputs(given: tuple[InputKind, ...], has_style: bool) -> Inputs:
    rng = torch.Generator().manual_seed(3)
    files = {
        "source": torch.rand(3, 24, 24, generator=rng) * 2 - 1,
        "towards_source": torch.rand(3, 16, 16, generator=rng) * 2 - 1,
        "sketch": torch.eye(SHAPE.resolution)[None],
    }
    chosen = {name: files[name] for name in given}
    return replace(Inputs(**chosen), has_own_style="source" in given and not has_style)


def cases() -> Iterator[Any]:
    for family in TRAINABLE:
        for conditioning in CONDITIONINGS if family == "sketch_diffusion" else (None,):
            for given in GIVEN:
                if not FAMILIES[family].why_not(given):
                    words = "-".join((family, conditioning or "", *given))
                    yield pytest.param(family, conditioning, given, id=words)


@pytest.mark.parametrize("has_style", [False, True], ids=["any style", "a style"])
@pytest.mark.parametrize(("family", "conditioning", "given"), list(cases()))
def test_an_option_changes_the_picture_or_is_refused(
    family: str, conditioning: str | None, given: tuple[InputKind, ...], has_style: bool
) -> None:
    of_family = FAMILIES[family].options
    makes, asked = sampler(family, conditioning), inputs(given, has_style)
    row = torch.full((1, 2), 0.5) if asked.has_own_style else torch.eye(2)[:1]

    def made(options: FamilyOptions) -> Tensor | None:
        """None where they are refused."""
        try:
            return makes.sample(Request([1], row, options, asked))
        except ValueError:
            return None

    ignored: list[str] = []
    short = {"projection_steps": 2} if family == "stylegan2" and "source" in given else {}
    for beside in OPTIONS.get(family, [{}, {"towards_seed": 5}]):
        options = of_family.model_validate(beside | short)
        before = made(options)
        for name in of_family.model_fields if before is not None else ():
            other = changed(options, name)
            is_refused = bool(other.idle({*given, *(["style"] if has_style else [])}))
            after = None if is_refused else made(other)
            if before is not None and after is not None and torch.equal(before, after):
                ignored.append(f"{name}={getattr(other, name)} beside {beside}")
    assert not ignored
