"""A weights file => the Real-ESRGAN network it belongs to, recognised from the tensors alone."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from components.enhancement.shim import network_classes
from interfaces.errors import AtelierError

SCALE = 4  # every network used here enlarges each side by four

# Pixels around a point that its RRDBNet output visibly depends on. In theory the radius is 15
# convolutions a block, about 350 pixels; in effect contributions die off far sooner, since every
# residual branch is scaled by 0.2. With 23 blocks of seeded (He) weights, tiled and untiled results
# differ by 7 levels of 255 at 4 pixels, 0.2 at 8 and 0.0003 at 16. Trained weights reach further
# (the compact network's: 2.6 levels at 16 pixels, 0.2 at 24), hence three times what random ones
# need; x4plus itself was not at hand to be measured.
_RRDBNET_CONTEXT = 48


@dataclass(frozen=True)
class Network:
    """A ×4 network ready to run: RGB in [0, 1] (N, 3, H, W) => about [0, 1] (N, 3, 4H, 4W)."""

    module: nn.Module
    architecture: str  # name of the class: 'RRDBNet', 'SRVGGNetCompact'
    sha256: str  # digest of the weights file
    context: int  # input pixels around a tile that its output may depend on visibly


def load_network(path: Path) -> Network:
    """Read a `.pth` or `.safetensors` file without running anything in it.

    Raises `AtelierError` for a file that is missing, damaged, holds code, holds values that are
    not numbers, or belongs to no network known here.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AtelierError(
            f"{path}: cannot read the weights ({error.strerror}); check the path"
        ) from error
    state = _state_dict(_parse(path, data), path)
    module, context = _build(state, path)
    return Network(
        module=module,
        architecture=type(module).__name__,
        sha256=hashlib.sha256(data).hexdigest(),
        context=context,
    )


def _parse(path: Path, data: bytes) -> Any:
    """The file's content, through readers that cannot run code."""
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load

            return load(data)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise nearly anything on hostile bytes
        raise AtelierError(
            f"{path}: refused, it is damaged or holds more than plain tensors "
            f"({type(error).__name__}); download it again from its source"
        ) from error


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """The averaged weights (`params_ema`) where there are any, else `params`, else the whole."""
    if isinstance(content, Mapping):
        content = content.get("params_ema", content.get("params", content))
    is_state = isinstance(content, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) and value.is_floating_point()
        for name, value in content.items()
    )
    if not is_state:
        raise AtelierError(f"{path}: holds no network weights; give a Real-ESRGAN weights file")
    state = {name: value.to(torch.float32) for name, value in content.items()}
    for name, value in state.items():
        if not torch.isfinite(value).all():
            raise AtelierError(
                f"{path}: {name} holds values that are not numbers; download it again"
            )
    return state


def _build(state: dict[str, Tensor], path: Path) -> tuple[nn.Module, int]:
    """The network that these tensors fit, loaded, and the context it needs."""
    build = {"conv_first.weight": _rrdbnet, "body.0.weight": _compact}
    make = next((make for key, make in build.items() if key in state), None)
    if make is None:
        raise AtelierError(
            f"{path}: of no known network; RRDBNet and SRVGGNetCompact of Real-ESRGAN are"
        )
    try:
        # On the meta device nothing is initialised: no time, no memory, no random numbers drawn.
        with torch.device("meta"):
            module, context = make(state)
        module.load_state_dict(state, assign=True)
    except (KeyError, RuntimeError, ValueError, IndexError) as error:
        raise AtelierError(
            f"{path}: resembles Real-ESRGAN's networks but fits none that enlarges RGB by {SCALE}; "
            "give weights of a ×4 RRDBNet or SRVGGNetCompact"
        ) from error
    return module.eval().requires_grad_(False), context


def _rrdbnet(state: dict[str, Tensor]) -> tuple[nn.Module, int]:
    rrdbnet, _ = network_classes()
    blocks = {name.split(".")[1] for name in state if name.startswith("body.")}
    features, channels_in = state["conv_first.weight"].shape[:2]
    if channels_in != 3:  # 12 or 48: the variants for ×2 and ×1, which fold pixels into channels
        raise ValueError(f"takes {channels_in} channels")
    module = rrdbnet(
        num_in_ch=3,
        num_out_ch=3,
        scale=SCALE,
        num_feat=features,
        num_block=len(blocks),
        num_grow_ch=state["body.0.rdb1.conv1.weight"].shape[0],
    )
    return module, _RRDBNET_CONTEXT


def _compact(state: dict[str, Tensor]) -> tuple[nn.Module, int]:
    _, srvggnet_compact = network_classes()
    num_convolutions = sum(value.ndim == 4 for value in state.values())
    module = srvggnet_compact(
        num_in_ch=3,
        num_out_ch=3,
        num_feat=state["body.0.weight"].shape[0],
        num_conv=num_convolutions - 2,  # all but the first and the last
        upscale=SCALE,
        act_type="prelu",
    )
    return module, num_convolutions  # one pixel for each 3×3 convolution: this is exact
