"""A weights file => the Real-ESRGAN network it belongs to, recognised from the tensors alone."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from components.common.files import read_regular
from components.common.narrowing import is_mapping
from components.common.tensors import tensors_by_name
from components.common.vision import import_torchvision
from components.enhancement.ncnn import read_network
from components.enhancement.shim import network_classes
from interfaces.errors import DamagedError, RefusedError, unreadable

SCALE = 4  # every network used here enlarges each side by four


@dataclass(frozen=True)
class Network:
    """A ×4 network ready to run: RGB in [0, 1] (N, 3, H, W) => about [0, 1] (N, 3, 4H, 4W)."""

    module: nn.Module
    architecture: str  # name of the class: 'RRDBNet', 'SRVGGNetCompact'
    sha256: str  # digest of the weights file; of ncnn's two, of the .bin
    reach: int | None = None  # input pixels around a point that it can depend on; None: unknown
    twin_sha256: str | None = None  # digest of the twin that was mixed in
    share: float = 1.0  # of its own weights against the twin's
    precision: str = "float32"  # in which the file stores the convolutions' weights

    @property
    def identity(self) -> str:
        """Digest of all that its results depend on."""
        return hashlib.sha256(f"{self.sha256} {self.twin_sha256} {self.share}".encode()).hexdigest()


@dataclass(frozen=True)
class _Stored:
    """Contents of a weights file."""

    state: dict[str, Tensor]  # float32
    sha256: str
    precision: str


def load_network(
    path: Path,
    twin: Path | None = None,
    share: float = 1.0,
    published: Mapping[str, str] | None = None,
) -> Network:
    """Read a weights file without running anything in it: `.pth`, `.safetensors`, ncnn's `.bin`.

    ncnn's `.param` is read from beside its `.bin`. With a `twin`, every weight is `share` times its
    own and `1 - share` times the twin's (Wang et al., "ESRGAN", 2018, section 3.4: network
    interpolation). `published` gives the SHA-256 that files must have, by file name. Raises
    `AtelierError` for a file that is missing, damaged, not the published one, holds code, holds
    values that are not numbers, belongs to no network known here, or to another than its twin.
    """
    stored = _read(path, published or {})
    state, twin_sha256 = stored.state, None
    if twin is not None:
        other = _read(twin, published or {})
        state, twin_sha256 = _mix(state, other.state, share, f"{path}, {twin}"), other.sha256
    module, reach = _build(state, path)
    return Network(
        module=module,
        architecture=getattr(module, "architecture", type(module).__name__),
        sha256=stored.sha256,
        reach=reach,
        twin_sha256=twin_sha256,
        share=share,
        precision=stored.precision,
    )


def _read(path: Path, published: Mapping[str, str]) -> _Stored:
    data, sha256 = _content(path, published)
    if path.suffix.lower() == ".bin":
        param, _ = _content(path.with_suffix(".param"), published)
        return _Stored(_in_float32(_parse_ncnn(path, param, data), path), sha256, "float16")
    tensors = tensors_by_name(_named(_parse(path, data)))
    if tensors is None:
        raise RefusedError(f"{path}: holds no network weights; give a Real-ESRGAN weights file")
    # Every tensor of such a file is of one type; of a mixed one the least precise is said.
    widths = {value.element_size(): value.dtype for value in tensors.values()}
    precision = str(widths[min(widths)]).removeprefix("torch.") if widths else "float32"
    return _Stored(_in_float32(tensors, path), sha256, precision)


def _content(path: Path, published: Mapping[str, str]) -> tuple[bytes, str]:
    """A file's bytes and their digest, which must be the published one where one is given."""
    try:
        data = read_regular(path)
    except OSError as error:
        raise unreadable(error)(
            f"{path}: cannot read the weights ({error.strerror}); check the path"
        ) from error
    sha256 = hashlib.sha256(data).hexdigest()
    if published.get(path.name, sha256) != sha256:
        raise DamagedError(
            f"{path}: is not the published file, its SHA-256 is {sha256} and not "
            f"{published[path.name]}; remove it and get it again from its source"
        )
    return data, sha256


def _parse_ncnn(path: Path, param: bytes, data: bytes) -> dict[str, Tensor]:
    try:
        return read_network(param.decode("ascii"), data)
    except ValueError as error:
        raise DamagedError(f"{path}: {error}; give ncnn's files of a ×4 network") from error


def _mix(
    state: dict[str, Tensor], other: dict[str, Tensor], share: float, where: str
) -> dict[str, Tensor]:
    shapes = [{name: value.shape for name, value in each.items()} for each in (state, other)]
    if shapes[0] != shapes[1]:
        raise RefusedError(f"{where}: of different networks, so they cannot be mixed; give twins")
    return {name: torch.lerp(other[name], value, share) for name, value in state.items()}


def _parse(path: Path, data: bytes) -> Any:
    """The file's content, through readers that cannot run code."""
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load

            return load(data)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise nearly anything on hostile bytes
        raise DamagedError(
            f"{path}: refused, it is damaged or holds more than plain tensors "
            f"({type(error).__name__}); download it again from its source"
        ) from error


def _named(content: object) -> object:
    """The averaged weights (`params_ema`) where there are any, else `params`, else the whole."""
    if is_mapping(content):
        return content.get("params_ema", content.get("params", content))
    return content


def _in_float32(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors in float32. Raises `DamagedError` where a number is not finite."""
    state = {
        name: value.to(torch.float32) if value.is_floating_point() else value
        for name, value in tensors.items()
    }
    for name, value in state.items():
        if not torch.isfinite(value).all():
            raise DamagedError(
                f"{path}: {name} holds values that are not numbers; download it again"
            )
    return state


def _build(state: dict[str, Tensor], path: Path) -> tuple[nn.Module, int | None]:
    """The network that these tensors fit, loaded, and its reach."""
    build = {"body.0.rdb1.conv1.weight": _rrdbnet, "body.0.weight": _compact}
    make = next((make for key, make in build.items() if key in state), None)
    if make is None:
        return _foreign(state, path), None
    try:
        # On the meta device nothing is initialised: no time, no memory, no random numbers drawn.
        with torch.device("meta"):
            module, reach = make(state)
        module.load_state_dict(state, assign=True)
    except (KeyError, RuntimeError, ValueError, IndexError) as error:
        raise RefusedError(
            f"{path}: resembles Real-ESRGAN's networks but fits none that enlarges RGB by {SCALE}; "
            "give weights of a ×4 RRDBNet or SRVGGNetCompact"
        ) from error
    return module.eval().requires_grad_(False), reach


class _Padded(nn.Module):
    """A network of spandrel's, fed with the sizes that it can take."""

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.architecture = str(descriptor.architecture.name)
        self.network = descriptor.model
        self._sizes = descriptor.size_requirements

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        below, right = self._sizes.get_padding(width, height)[::-1]
        x = nn.functional.pad(x, (0, right, 0, below), mode="replicate")
        return self.network(x)[..., : height * SCALE, : width * SCALE]


def _foreign(state: dict[str, Tensor], path: Path) -> nn.Module:
    """Any other architecture that spandrel knows from its tensors."""
    import_torchvision()
    import spandrel  # pyright: ignore[reportMissingTypeStubs]

    try:
        with torch.random.fork_rng(devices=[]):  # it initialises what it then overwrites  # pyright: ignore[reportUnknownMemberType]
            found = spandrel.ModelLoader().load_from_state_dict(state)
    except Exception as error:  # its readers raise nearly anything on tensors of other shapes
        raise RefusedError(
            f"{path}: of no network known here or to spandrel ({type(error).__name__}); give "
            "weights of a network that enlarges pictures"
        ) from error
    if not isinstance(found, spandrel.ImageModelDescriptor) or (
        (found.scale, found.input_channels, found.output_channels) != (SCALE, 3, 3)
    ):
        raise RefusedError(
            f"{path}: a network of {found.architecture.name} that does not enlarge RGB by {SCALE}; "
            "give one that does"
        )
    return _Padded(found).eval().requires_grad_(False)


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
    # 15 convolutions a block, the two around the body, and 4 behind it, 3 of them on finer grids.
    return module, 15 * len(blocks) + 4


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
