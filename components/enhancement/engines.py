"""A network and a route => a function from pictures to pictures, on a device.

The routes: torch itself in float32, float16 or bfloat16, the same through torch's compiler, and
OpenVINO, an optional package, in float32 or bfloat16. All work in channels_last on a CPU, which its
convolutions want. Deviations and speeds of each stand in benchmarks/RESULTS.md.
"""

import copy
import importlib.util
import logging
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from components.common.download import weights_cache
from components.common.durable import publish
from components.common.tensors import tensor_of
from components.enhancement.weights import Network
from interfaces.errors import RefusedError, UnavailableError

Forward = Callable[[Tensor], Tensor]
"""float32 on the CPU, (N, 3, H, W) in [0, 1] => the same, (N, 3, 4H, 4W), about [0, 1]."""

_log = logging.getLogger("atelier")


@dataclass(frozen=True)
class Route:
    """Way of computing a network."""

    name: str
    engine: Literal["torch", "compiler", "openvino"]
    dtype: torch.dtype


ROUTES = {
    route.name: route
    for route in (
        Route("float32", "torch", torch.float32),
        Route("float16", "torch", torch.float16),
        Route("bfloat16", "torch", torch.bfloat16),
        Route("compiled", "compiler", torch.float32),
        Route("compiled-bfloat16", "compiler", torch.bfloat16),
        Route("openvino", "openvino", torch.float32),
        Route("openvino-bfloat16", "openvino", torch.bfloat16),
    )
}
"""Routes by the names that `IES.route` has for them."""


def check_route(route: Route, device: torch.device) -> None:
    """Raise `AtelierError` where a route cannot run on this machine."""
    if route.dtype == torch.float16 and device.type == "cpu":
        raise RefusedError(f"route {route.name}: wants a GPU; choose auto or bfloat16")
    if route.engine == "openvino":
        if device.type != "cpu":
            raise RefusedError(f"route {route.name}: runs on the CPU alone; choose device cpu")
        if not has_openvino():
            raise UnavailableError(
                f"route {route.name}: OpenVINO is not installed; pip install openvino, or choose "
                "auto"
            )
    if route.engine == "compiler" and not _has_compiler(device):
        raise UnavailableError(
            f"route {route.name}: no C++ compiler was found; install g++ or clang, or choose auto"
        )


def has_openvino() -> bool:
    """Whether the optional package is installed."""
    return importlib.util.find_spec("openvino") is not None


def _has_compiler(device: torch.device) -> bool:
    if device.type != "cpu":
        return importlib.util.find_spec("triton") is not None
    names = ("cl",) if sys.platform == "win32" else ("g++", "c++", "clang++")
    return any(shutil.which(name) for name in names)


def build(route: Route, network: Network, device: torch.device) -> Forward:
    """The network, ready to run on this route; compiling takes up to a minute.

    Raises `AtelierError` where an engine does not take the network.
    """
    if route.engine == "openvino":
        return _openvino(route, network)
    module: Any = copy.deepcopy(network.module).to(device, route.dtype)
    layout = torch.channels_last if device.type == "cpu" else torch.contiguous_format
    module.to(memory_format=layout)
    run: Any = module
    if route.engine == "compiler":
        run = torch.compile(module, dynamic=False)  # pyright: ignore[reportUnknownMemberType]

    @torch.inference_mode()
    def forward(pictures: Tensor) -> Tensor:
        # In one step on the CPU: to a dtype and to a layout are two copies otherwise.
        taken = pictures.to(device, route.dtype, memory_format=layout)
        return run(taken).float().cpu()

    return forward


def _openvino(route: Route, network: Network) -> Forward:
    openvino: Any = importlib.import_module("openvino")
    core = openvino.Core()
    try:
        compiled = core.compile_model(
            _converted(openvino, core, network),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "bf16" if route.dtype == torch.bfloat16 else "f32",
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "PERFORMANCE_HINT": "LATENCY",
            },
        )
    except Exception as error:  # its converter raises nearly anything on what it does not know
        raise RefusedError(
            f"route {route.name}: OpenVINO cannot take this {network.architecture} "
            f"({type(error).__name__}); choose auto"
        ) from error

    def forward(pictures: Tensor) -> Tensor:
        # The result's memory belongs to the compiled model, which writes over it the next time.
        return tensor_of(compiled(pictures.contiguous().numpy())[0].copy())

    return forward


def _converted(openvino: Any, core: Any, network: Network) -> Any:
    """OpenVINO's own form of a network, kept in the person's cache: converting takes seconds."""
    name = f"{network.identity[:16]}-{openvino.__version__.partition('-')[0]}"
    folder = weights_cache().parent / "openvino" / name
    file = folder / "network.xml"
    if file.is_file():
        return core.read_model(file)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # it traces in a way that torch gives up
        model = openvino.convert_model(
            copy.deepcopy(network.module),
            example_input=torch.zeros(1, 3, 64, 64),
            input=[openvino.PartialShape([-1, 3, -1, -1])],
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            made = Path(temporary) / name
            made.mkdir()
            openvino.save_model(model, made / file.name, compress_to_fp16=False)
            publish(made, folder)
    except OSError as error:  # no room, or another process was first: it is converted anew
        _log.info("%s: cannot be kept (%s)", folder, error)
    return model
