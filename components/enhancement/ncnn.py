"""ncnn's two files => the tensors of a Real-ESRGAN network, every byte accounted for.

The format is that of github.com/Tencent/ncnn (`src/net.cpp`, `src/modelbin.cpp`): a `.param` text
names the layers in order, a line each; the `.bin` beside it holds their weights in the same order,
little-endian. A convolution's weights are preceded by a tag that says how they are stored; its
bias and a PReLU's slopes are plain float32. Nothing of ncnn itself is needed.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from components.common.tensors import tensor_of

MAGIC = "7767517"
"""First line of every `.param` text."""

HALF_PRECISION = 0x01306B47
"""Tag before weights stored as float16, padded to a multiple of four bytes."""

_KERNEL = 3  # side of every convolution in these networks
_WIRING = {"Split", "Concat"}  # layers that only pass tensors on
_DENSE_BLOCK = ["Convolution"] * 5 + ["Eltwise"]
_RRDB = [*_DENSE_BLOCK * 3, "Eltwise"]


@dataclass(frozen=True)
class _Layer:
    """One line of a `.param` text."""

    kind: str
    name: str
    options: dict[str, str]  # by ncnn's numbers, which each kind of layer reads its own way

    def whole(self, option: str) -> int:
        """A whole number among the options; 0 where it is not given, as ncnn has it."""
        value = self.options.get(option, "0")
        if not value.isdecimal():
            raise ValueError(f"layer {self.name}: {option}={value} is no whole number")
        return int(value)


def read_network(param: str, data: bytes) -> dict[str, Tensor]:
    """The state dict, in float32, of the ×4 RRDBNet or SRVGGNetCompact in the two files.

    `param` is the text of the `.param` file, `data` the content of the `.bin`. Raises `ValueError`
    for any other network, for weights that are not stored in half precision, and for a `.bin` that
    is shorter or longer than the `.param` says.
    """
    layers = _layers(param)
    names = iter(_names(layers))
    stored = _Stored(data)
    state: dict[str, Tensor] = {}
    for layer in layers:
        if layer.kind == "Convolution":
            name, outputs = next(names), layer.whole("0")
            weight = stored.half(_weight_count(layer), layer.name)
            state[f"{name}.weight"] = weight.reshape(outputs, -1, _KERNEL, _KERNEL)
            state[f"{name}.bias"] = stored.single(outputs, layer.name)
        elif layer.kind == "PReLU":
            state[f"{next(names)}.weight"] = stored.single(layer.whole("0"), layer.name)
    stored.check_end()
    return state


def _layers(param: str) -> list[_Layer]:
    """The lines of a `.param` text, checked against the count that it states."""
    lines = [line.strip() for line in param.splitlines() if line.strip()]
    if lines[:1] != [MAGIC]:
        raise ValueError(f"its first line is not {MAGIC}, so it is no .param text of ncnn's")
    stated = lines[1].split()[0] if len(lines) > 1 else "no"
    if stated != str(len(lines[2:])):
        raise ValueError(f"it states {stated} layers and has {len(lines[2:])}")
    return [_layer(line) for line in lines[2:]]


def _layer(line: str) -> _Layer:
    """'kind name inputs outputs blobs … options …' => the layer."""
    try:
        kind, name, num_inputs, num_outputs, *rest = line.split()
        pairs = [option.split("=", 1) for option in rest[int(num_inputs) + int(num_outputs) :]]
        return _Layer(kind, name, dict(pairs))
    except ValueError as error:
        raise ValueError(f"{line[:80]!r} describes no layer") from error


def _names(layers: list[_Layer]) -> list[str]:
    """Names of the layers with weights, in basicsr's and realesrgan's state dicts."""
    found = [layer for layer in layers if layer.kind not in _WIRING]
    num_convolutions = sum(layer.kind == "Convolution" for layer in found)
    if any(layer.kind == "PReLU" for layer in found):
        expected, names = _compact(num_convolutions)
    else:
        expected, names = _rrdbnet(num_convolutions)
    for place, layer in enumerate(found):
        wanted = expected[place] if place < len(expected) else "the end"
        if layer.kind != wanted:
            raise ValueError(f"layer {layer.name} is {layer.kind}, where {wanted} belongs")
    if len(found) < len(expected):
        raise ValueError(f"it ends where {expected[len(found)]} belongs")
    return names


def _compact(num_convolutions: int) -> tuple[list[str], list[str]]:
    """Kinds of SRVGGNetCompact's layers (Wang et al. 2021), and names of those with weights."""
    num_layers = 2 * num_convolutions - 1  # an activation after each convolution but the last
    alternating = ["Convolution", "PReLU"] * num_convolutions
    kinds = ["Input", *alternating[:num_layers], "PixelShuffle", "Interp", "BinaryOp"]
    return kinds, [f"body.{place}" for place in range(num_layers)]


def _rrdbnet(num_convolutions: int) -> tuple[list[str], list[str]]:
    """Kinds of RRDBNet's layers (Wang et al. 2018), and names of those with weights."""
    num_blocks = (num_convolutions - 6) // 15  # 6 around the blocks, three dense fives in each
    behind = ["Convolution", "BinaryOp", *["Interp", "Convolution"] * 2, *["Convolution"] * 2]
    dense = [
        f"body.{block}.rdb{part}.conv{place}"
        for block in range(num_blocks)
        for part in (1, 2, 3)
        for place in (1, 2, 3, 4, 5)
    ]
    last = ["conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]
    return ["Input", "Convolution", *_RRDB * num_blocks, *behind], ["conv_first", *dense, *last]


def _weight_count(layer: _Layer) -> int:
    """Number of a convolution's weights. Raises `ValueError` for one unlike these networks'."""
    outputs, count = layer.whole("0"), layer.whole("6")
    side, padding, has_bias = (layer.whole(option) for option in ("1", "4", "5"))
    if (side, padding, has_bias) != (_KERNEL, _KERNEL // 2, 1):
        raise ValueError(f"layer {layer.name} is no 3×3 convolution with padding 1 and a bias")
    if outputs < 1 or count < 1 or count % (outputs * _KERNEL**2):
        raise ValueError(f"layer {layer.name}: {count} weights are not divisible by its outputs")
    return count


class _Stored:
    """The content of a `.bin`, taken from its beginning to its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._done = 0

    def half(self, count: int, layer: str) -> Tensor:
        """`count` weights stored as float16 behind their tag, in float32."""
        (tag,) = self._take(4, layer, np.dtype("<u4"))
        if tag != HALF_PRECISION:
            raise ValueError(
                f"layer {layer}: tag {tag:#010x} at byte {self._done - 4}, where half precision "
                f"({HALF_PRECISION:#010x}) belongs"
            )
        padded = count + count % 2
        weights = self._take(2 * padded, layer, np.dtype("<f2"))[:count]
        return tensor_of(weights.astype(np.float32))

    def single(self, count: int, layer: str) -> Tensor:
        """`count` numbers stored as float32."""
        return tensor_of(self._take(4 * count, layer, np.dtype("<f4")).astype(np.float32))

    def check_end(self) -> None:
        """Refuse bytes that no layer asked for."""
        surplus = len(self._data) - self._done
        if surplus:
            raise ValueError(f"{surplus} bytes are left over behind the last layer")

    def _take(self, size: int, layer: str, dtype: np.dtype) -> np.ndarray:
        end = self._done + size
        if end > len(self._data):
            raise ValueError(
                f"ends at byte {len(self._data)} within layer {layer}, which goes to byte {end}"
            )
        taken = np.frombuffer(self._data[self._done : end], dtype)
        self._done = end
        return taken
