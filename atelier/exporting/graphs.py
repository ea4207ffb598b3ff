"""Networks as files that other programs run: ONNX and TorchScript, each compared once written."""

import io
import logging
import math
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from components.common.durable import replacing, write_bytes
from components.families.port import Graph
from interfaces.errors import AtelierError, UnavailableError

VARYING_SIDE = 8
"""Length of a side that may vary, in the example that a network is traced with."""

MAX_DIFFERENCE = 1e-3
"""Largest difference allowed in a pixel of an export: it comes from sums in another order."""


def examples_of(graph: Graph, seed: int, varying: int = VARYING_SIDE) -> dict[str, Tensor]:
    """Inputs of a graph in [0, 1), from a seed; sides that vary have the length `varying`."""
    rng = torch.Generator().manual_seed(seed)
    shapes = {
        name: [side if isinstance(side, int) else varying for side in shape]
        for name, shape in graph.inputs.items()
    }
    return {name: torch.rand(shape, generator=rng) for name, shape in shapes.items()}


def write_onnx(graph: Graph, path: Path) -> float:
    """Write a graph as ONNX; returns its largest difference from the network, by ONNX Runtime."""
    try:
        for name in ("onnx", "onnxscript"):
            import_module(name)
        onnxruntime: Any = import_module("onnxruntime")
    except ImportError as error:
        raise UnavailableError(
            f"export: {error.name} is not installed; pip install 'atelier[export]'"
        ) from error
    names = {
        side: torch.export.Dim.DYNAMIC
        for shape in graph.inputs.values()
        for side in shape
        if isinstance(side, str)
    }
    varying = {
        name: {place: names[side] for place, side in enumerate(shape) if isinstance(side, str)}
        for name, shape in graph.inputs.items()
    }
    arguments = tuple(examples_of(graph, 0).values())
    with _quiet(), torch.no_grad(), replacing(path) as temporary:
        torch.onnx.export(  # pyright: ignore[reportUnknownMemberType]
            graph.module,
            arguments,
            temporary,
            input_names=list(graph.inputs),
            output_names=["images"],
            dynamic_shapes=tuple(varying.values()),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(inputs: Mapping[str, Tensor]) -> np.ndarray:
        return session.run(None, {name: value.numpy() for name, value in inputs.items()})[0]

    return _compared(graph, run, path)


def write_torchscript(graph: Graph, path: Path) -> float:
    """Write a graph as TorchScript; returns its largest difference from the network."""
    with _quiet(), torch.no_grad():
        loaded = _scripted(torch.jit, graph, path)

    def run(inputs: Mapping[str, Tensor]) -> np.ndarray:
        with torch.no_grad():
            return loaded(*inputs.values()).numpy()

    return _compared(graph, run, path)


class _Jit(Protocol):
    """The part of `torch.jit`, which has no types, that is used here."""

    def trace(self, func: nn.Module, example_inputs: tuple[Tensor, ...]) -> object: ...

    def save(self, m: object, f: io.BytesIO) -> None: ...

    def load(self, f: io.BytesIO) -> Callable[..., Tensor]: ...


def _scripted(jit: _Jit, graph: Graph, path: Path) -> Callable[..., Tensor]:
    """Write a graph as TorchScript; returns what the file holds."""
    traced = jit.trace(graph.module, tuple(examples_of(graph, 0).values()))
    data = io.BytesIO()
    jit.save(traced, data)
    write_bytes(path, data.getvalue())
    return jit.load(io.BytesIO(data.getvalue()))


def _compared(graph: Graph, run: Callable[[Mapping[str, Tensor]], np.ndarray], path: Path) -> float:
    """The largest difference, for other numbers and another batch than it was traced with."""
    worst = 0.0
    for seed, varying in ((1, VARYING_SIDE), (2, VARYING_SIDE + 3)):
        inputs = examples_of(graph, seed, varying)
        with torch.no_grad():
            wanted = graph.module(*inputs.values()).numpy()
        found = run(inputs)
        apart = np.abs(found - wanted).max() if found.shape == wanted.shape else math.inf
        worst = max(worst, float(apart))
    if not worst <= MAX_DIFFERENCE:
        path.unlink()
        raise AtelierError(
            f"{path}: does not compute what the network does (a pixel differs by {worst:g}); "
            "export it to another format"
        )
    return worst


@contextmanager
def _quiet() -> Generator[None]:
    """Without what torch says of its own ways while it exports."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
