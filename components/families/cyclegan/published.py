# pyright: standard
"""Published CycleGAN weights: files of pytorch-CycleGAN-and-pix2pix as weights of a `Generator`."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from components.families.cyclegan.method import Generator

_THEIR_NAME = re.compile(r"(?:module\.)?model\.(\d+)(?:\.conv_block\.(\d+))?\.(weight|bias)")
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


_Layers = dict[tuple[int, int], dict[str, Tensor]]
"""Weight and bias of each convolution, by its place and its place within a block."""


def import_generator(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A generator trained with pytorch-CycleGAN-and-pix2pix => weights and sizes of a `Generator`.

    `state` is its plain state dict (`latest_net_G_A.pth`, read with `weights_only=True`): a ResNet
    with instance normalisation for RGB, layers named by their place, `model.N` or
    `model.N.conv_block.M`. Statistics of normalisation, which old files have, play no part. The
    sizes are the config's `channels`, `blocks` and `upsampling`. Raises `ValueError` for anything
    else.
    """
    layers = _layers(state)
    blocks = len({number for number, inner in layers if inner})
    if [number for number, _ in layers] != _their_places(blocks):
        raise ValueError(
            "not the layers of a ResNet generator with instance normalisation of pytorch-CycleGAN "
            "(those with batch normalisation or a U-Net cannot be read)"
        )
    stem = next(iter(layers.values())).get("weight", torch.empty(0))
    if stem.ndim != 4:
        raise ValueError("model.1.weight: not a convolution's")
    sizes = {"channels": stem.shape[0], "blocks": blocks, "upsampling": "transposed"}
    return _fitted(layers, Generator(stem.shape[0], blocks, "transposed")), sizes


def _layers(state: Mapping[str, Tensor]) -> _Layers:
    """The convolutions of a state dict, in the order of their places."""
    layers: _Layers = {}
    for name, tensor in state.items():
        if name.endswith(_STATISTICS):
            continue
        match = _THEIR_NAME.fullmatch(name)
        if match is None or not isinstance(tensor, Tensor):
            raise ValueError(f"{name}: no layer of a ResNet generator of pytorch-CycleGAN")
        place = int(match[1]), int(match[2] or 0)
        layers.setdefault(place, {})[match[3]] = tensor.detach().float()
    return dict(sorted(layers.items()))


def _fitted(layers: _Layers, mine: Generator) -> dict[str, Tensor]:
    """The layers as weights of this project's generator: both order convolutions alike."""
    names = [
        name
        for name, module in mine.named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    ]
    weights = {
        f"{name}.{kind}": tensor
        for name, layer in zip(names, layers.values(), strict=True)
        for kind, tensor in layer.items()
    }
    if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
        raise ValueError("not all of its numbers are finite")
    try:
        mine.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise ValueError(
            f"its layers have other shapes than such a generator's: {reason}"
        ) from error
    return weights


def _their_places(blocks: int) -> list[int]:
    """Places of the convolutions among padding, normalisation and activations, blocks twice."""
    down, up = [1, 4, 7], [10 + blocks, 13 + blocks, 17 + blocks]
    return [*down, *(10 + number for number in range(blocks) for _ in range(2)), *up]
