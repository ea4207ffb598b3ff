"""A model's networks, opened for export."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save

from atelier.exporting import Exported, ExportFormat
from atelier.exporting.graphs import write_onnx, write_torchscript
from atelier.exporting.hub import write_folder
from components.common.checkpoints import load_weights
from components.common.durable import write_bytes
from components.families import FAMILIES
from components.families.port import Graph, Shape, no_graphs
from interfaces.errors import RefusedError
from interfaces.igme import IGME

ENDINGS = {"onnx": "onnx", "torchscript": "pt"}
"""Endings of the files that hold a network, by format."""


def export(model: IGME, to: ExportFormat, folder: Path) -> Exported:
    """See `atelier.exporting.export_model`."""
    graphs = graphs_of(model)
    if to == "safetensors":
        return Exported((write_weights(model, folder / "model.safetensors"),), None)
    if to == "hub-folder":
        return write_folder(model, graphs, folder, write_weights)
    write = write_onnx if to == "onnx" else write_torchscript
    files = {folder / f"{name}.{ENDINGS[to]}": graph for name, graph in graphs.items()}
    return Exported(tuple(files), max(write(graph, file) for file, graph in files.items()))


def graphs_of(model: IGME) -> Mapping[str, Graph]:
    """A model's networks with their weights. Raises `AtelierError` where they are not exported."""
    family = FAMILIES.get(model.family)
    if family is None:
        raise RefusedError(f"{model.directory}: a {model.family} model, which is not known here")
    method, shape = family.method(), Shape(model.resolution, len(model.styles))
    if method.build_graphs is no_graphs:
        if family.is_trainable:
            raise RefusedError(
                f"{model.directory}: the family {model.family} says nothing of how it is exported "
                "(`build_graphs` of its method)"
            )
        raise RefusedError(
            f"{model.directory}: a {model.family} model is a pipeline of several networks, which "
            "export does not take; its own folder opens in the library it came from"
        )
    config = family.config.model_validate(model.config)
    network = method.build_network(config, shape).eval().requires_grad_(False)
    network.load_state_dict(load_weights(model.weights_path, model.weights_sha256))
    graphs = method.build_graphs(network, config, shape)
    for graph in graphs.values():
        graph.module.eval()
    return graphs


def write_weights(model: IGME, path: Path) -> Path:
    """Write the weights as safetensors, with what the model is in the file's header."""
    weights = load_weights(model.weights_path, model.weights_sha256)
    described = {
        "format": "pt",
        "family": model.family,
        "config": json.dumps(model.config),
        "resolution": str(model.resolution),
        "styles": json.dumps(list(model.styles)),
        "digest": model.digest,
    }
    contiguous = {name: torch.clone(tensor).contiguous() for name, tensor in weights.items()}
    write_bytes(path, save(contiguous, metadata=described))
    return path
