"""Published StyleGAN2 networks (StyleGAN2-ADA PyTorch pickles) as models of this project.

The layout, as third-party readers describe it: a dict whose 'G_ema' (and 'D') are modules as
`components.common.pickles` reads them. Parameter names are those of `_generator_names`.

Not verified: no published file was at hand where this was written. The tests compare with pickles
that they build in this layout themselves, and with a generator written plainly from the papers.
Known of published networks and assumed here: kernels of layers that double the sides are those of
a transposed convolution; features are clamped where the layer says `conv_clamp`; the discriminator,
whose features are not clamped here, is for training on, not for equal scores.
"""

import logging
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from components.common.files import read_regular
from components.common.pickles import DAMAGED, PersistentObject, StoredTensor, read_pickle, text_of
from components.families.port import Shape
from components.families.stylegan2.config import LARGEST, SMALLEST, StyleGAN2Config
from components.families.stylegan2.networks import Discriminator, Generator

_log = logging.getLogger("atelier")

# ---------------------------------------------------------------- names and shapes

MAX_DEPTH = 8
"""Modules in modules: published networks have four levels."""
MAX_TENSORS = 10_000
"""Most tensors of one network (two hundred are usual): a module may be its own child many times."""


def _weights_of(module: Any) -> dict[str, StoredTensor]:
    """A module's tensors by their names in its state dict."""
    found = dict(islice(_walk(module, "", MAX_DEPTH), MAX_TENSORS + 1))
    if len(found) > MAX_TENSORS:
        raise ValueError("more tensors than a network has")
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def _walk(module: Any, prefix: str, levels: int) -> Iterator[tuple[str, StoredTensor | None]]:
    """Its tensors; and each module itself once, with None, so that it counts."""
    if not isinstance(module, PersistentObject) or levels == 0:
        raise ValueError(f"{prefix or 'network'}: not a module")
    yield prefix, None
    for part in ("_parameters", "_buffers"):
        for name, value in module.state[part].items():
            if value is not None:
                if not isinstance(value, StoredTensor):
                    raise ValueError(f"{prefix}{name}: not a tensor")
                yield f"{prefix}{name}", value
    for name, child in module.state["_modules"].items():
        if child is not None:
            yield from _walk(child, f"{prefix}{name}.", levels - 1)


def _part(module: PersistentObject, path: str) -> Mapping[str, Any]:
    """The attributes of a module inside another."""
    for name in path.split("."):
        module = module.state["_modules"][name]
    return module.state


def _linear_names(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.{part}": f"{theirs}.{part}" for part in ("weight", "bias")}


def _mapping_names(layers: int, is_conditional: bool) -> dict[str, str]:
    names = _linear_names("mapping.embed", "mapping.embed") if is_conditional else {}
    for number in range(layers):
        names |= _linear_names(f"mapping.layers.{number}", f"mapping.fc{number}")
    return names


def _generator_names(resolution: int, layers: int, is_conditional: bool) -> dict[str, str]:
    """Our names of the generator's weights => theirs."""
    names = _mapping_names(layers, is_conditional)
    names |= {"w_avg": "mapping.w_avg", "synthesis.constant": "synthesis.b4.const"}
    for number, theirs in enumerate(_layers(resolution)):
        ours = f"synthesis.layers.{number}"
        names |= _linear_names(ours, theirs) | _linear_names(f"{ours}.affine", f"{theirs}.affine")
        names[f"{ours}.strength"] = f"{theirs}.noise_strength"
        names[f"{ours}.noise"] = f"{theirs}.noise_const"
    for level in range(int(math.log2(resolution)) - 1):
        ours, theirs = f"synthesis.to_rgb.{level}", f"synthesis.b{4 * 2**level}.torgb"
        names |= _linear_names(ours, theirs) | _linear_names(f"{ours}.affine", f"{theirs}.affine")
    return names


def _discriminator_names(resolution: int, layers: int, is_conditional: bool) -> dict[str, str]:
    """Our names of the discriminator's weights => theirs."""
    names = _linear_names("from_rgb", f"b{resolution}.fromrgb")
    for number in range(int(math.log2(resolution)) - 2):
        block = f"b{resolution // 2**number}"
        names |= _linear_names(f"blocks.{number}.first", f"{block}.conv0")
        names |= _linear_names(f"blocks.{number}.second", f"{block}.conv1")
        names[f"blocks.{number}.skip.weight"] = f"{block}.skip.weight"
    for ours, theirs in (("mix", "conv"), ("dense", "fc"), ("end", "out")):
        names |= _linear_names(ours, f"b4.{theirs}")
    if is_conditional:
        names |= _mapping_names(layers, is_conditional)
    return names


def _taken(
    stored: Mapping[str, StoredTensor], names: Mapping[str, str], network: nn.Module
) -> dict[str, Tensor]:
    """The weights for this project's network, made on no device: each in the shape it needs."""
    taken: dict[str, Tensor] = {}
    for ours, wanted in network.state_dict().items():
        theirs = names[ours]
        if theirs not in stored:
            raise ValueError(f"not a network of StyleGAN2: {theirs} is missing")
        if stored[theirs].size != tuple(wanted.shape):
            raise ValueError(f"{theirs}: {stored[theirs].size}, where {tuple(wanted.shape)} fits")
        taken[ours] = stored[theirs].tensor()
        if not torch.isfinite(taken[ours]).all():
            raise ValueError(f"{theirs}: not all numbers are finite")
    return taken


def _count_layers(stored: Mapping[str, Any]) -> int:
    return sum(1 for name in stored if re.fullmatch(r"mapping\.fc\d+\.weight", name))


def _size(stored: Mapping[str, StoredTensor], name: str) -> tuple[int, ...]:
    if name not in stored:
        raise ValueError(f"not a generator of StyleGAN2: {name} is missing")
    return stored[name].size


# ---------------------------------------------------------------- what is read of a network


@dataclass(frozen=True)
class PickleFacts:
    """Facts about a published network besides its weights."""

    resolution: int
    """Side of its images, pixels."""
    num_styles: int
    """Number of labels that it knows; 0 where it knows none."""
    companions: dict[str, dict[str, Tensor]]
    """The discriminator's weights, under its name, where the file has them in our layout."""


def read_network_pickle(data: bytes) -> tuple[StyleGAN2Config, dict[str, Tensor], PickleFacts]:
    """A published network => our config, our generator's weights, and what else it is.

    Raises `ValueError`, in one line, for whatever is not a StyleGAN2 network of RGB images with a
    side of 8 to 1024, and for any pickle that asks for more than such a network needs.
    """
    try:
        networks = read_pickle(data)
        if type(networks) is not dict or "G_ema" not in networks:
            raise ValueError("it has no generator (G_ema)")
        return _read(networks["G_ema"], networks.get("D"))  # pyright: ignore[reportUnknownMemberType]
    except DAMAGED as error:
        reason = f"{type(error).__name__} {error}".splitlines()[0][:200]
        raise ValueError(f"not a StyleGAN2 network pickle, or damaged ({reason})") from error
    except ValueError as error:
        reason = (str(error) or "damaged").splitlines()[0][:300]
        raise ValueError(f"not a StyleGAN2 network pickle: {reason}") from error


def _read(
    generator: Any, discriminator: Any
) -> tuple[StyleGAN2Config, dict[str, Tensor], PickleFacts]:
    stored = _weights_of(generator)
    resolution, widths = _widths(stored)
    num_styles = stored["mapping.embed.weight"].size[1] if "mapping.embed.weight" in stored else 0
    numbers = _numbers(generator, stored, resolution, widths, num_styles > 0)
    known: dict[str, StoredTensor] = {}
    if isinstance(discriminator, PersistentObject):
        known = _weights_of(discriminator)
        if num_styles:
            numbers["style_layers"] = _count_layers(known)
    try:
        config = StyleGAN2Config.model_validate(numbers)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{first['loc'][0]}: {first['msg']}") from error
    config.check_resolution(resolution)
    if config.widths(resolution) != widths:
        raise ValueError(f"channels {widths}: not those of a StyleGAN2 network")
    with torch.device("meta"):
        shape = Shape(resolution, num_styles)
        ours, opponent = Generator(config, shape), Discriminator(config, shape)
    names = _generator_names(resolution, config.mapping_layers, config.conditional)
    weights = _taken(stored, names, ours)
    companions: dict[str, dict[str, Tensor]] = {}
    if known:
        names = _discriminator_names(resolution, config.style_layers, config.conditional)
        try:
            companions["discriminator"] = _taken(known, names, opponent)
        except ValueError as error:
            _log.warning("left out: its discriminator, which only training needs (%s)", error)
    return config, weights, PickleFacts(resolution, num_styles, companions)


def _numbers(
    generator: PersistentObject,
    stored: Mapping[str, StoredTensor],
    resolution: int,
    widths: list[int],
    is_conditional: bool,
) -> dict[str, Any]:
    """Values of our config that the network itself fixes.

    Raises `ValueError` for a network that is not laid out so.
    """
    layers = list(_layers(resolution))
    _check_layers(generator, stored, layers)
    w_dim = _size(stored, "mapping.w_avg")[0]
    limits = {_number(_part(generator, path).get("conv_clamp")) for path in layers}
    if len(limits) > 1:
        raise ValueError("its layers are clamped differently")
    return {
        "latent_dim": _size(stored, "mapping.fc0.weight")[1] - (w_dim if is_conditional else 0),
        "w_dim": w_dim,
        "mapping_layers": _count_layers(stored),
        "mapping_rate": _number(_part(generator, "mapping.fc0").get("bias_gain", 0.01)),
        "conditional": is_conditional,
        "channel_base": max(width * 4 * 2**n for n, width in enumerate(widths)),
        "channel_max": max(widths),
        "activation_limit": limits.pop(),
    }


def _widths(stored: Mapping[str, StoredTensor]) -> tuple[int, list[int]]:
    """The images' side, and the channels at 4, 8, … of it."""
    _size(stored, "synthesis.b4.const")
    sides = [4]
    while f"synthesis.b{2 * sides[-1]}.conv1.weight" in stored:
        sides.append(2 * sides[-1])
    if not SMALLEST <= sides[-1] <= LARGEST:
        raise ValueError(f"side {sides[-1]}: 8 to 1024 pixels can be read")
    if _size(stored, f"synthesis.b{sides[-1]}.torgb.weight")[0] != 3:
        raise ValueError("its pictures are not RGB")
    return sides[-1], [_size(stored, f"synthesis.b{side}.conv1.weight")[0] for side in sides]


def _number(value: Any) -> float | None:
    if value is not None and not isinstance(value, int | float):
        raise ValueError("a number was expected")
    return value


def _layers(resolution: int) -> Iterator[str]:
    """The paths of the generator's 3×3 layers, from coarse to fine."""
    yield "synthesis.b4.conv1"
    for level in range(1, int(math.log2(resolution)) - 1):
        yield from (f"synthesis.b{4 * 2**level}.{layer}" for layer in ("conv0", "conv1"))


def _check_layers(
    generator: PersistentObject, stored: Mapping[str, StoredTensor], layers: list[str]
) -> None:
    """Refuse what has the same names but another meaning: activation, filter."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    for path in layers:
        activation = text_of(_part(generator, path).get("activation", "lrelu"))
        if activation != "lrelu":
            raise ValueError(f"{path}: the activation {activation[:40]!r}")
        kernel = stored[f"{path}.resample_filter"].tensor()
        wanted = taps if kernel.ndim == 1 else taps[:, None] * taps
        if kernel.shape != wanted.shape or not torch.allclose(kernel, wanted, atol=1e-6):
            raise ValueError(f"{path}: a filter other than [1, 3, 3, 1]")


@dataclass(frozen=True)
class AdoptedModel:
    """A published network as a model of this project: what `pipeline.py adopt` keeps."""

    family: str
    config: dict[str, Any]
    resolution: int
    num_styles: int
    """0 where it knows none; a model needs one name of a style all the same."""
    weights: dict[str, Tensor]
    companions: dict[str, dict[str, Tensor]]


def import_pickle(path: Path) -> AdoptedModel:
    """Read a published network's file. Raises `ValueError` in one line, `OSError` unopened."""
    config, weights, facts = read_network_pickle(read_regular(path))
    return AdoptedModel(
        family="stylegan2",
        config=config.model_dump(mode="json"),
        resolution=facts.resolution,
        num_styles=facts.num_styles,
        weights=weights,
        companions=facts.companions,
    )
