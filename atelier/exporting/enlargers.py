"""An enlarger's network, opened for export."""

from pathlib import Path

from safetensors.torch import save

from atelier.exporting import Exported, ExportFormat
from atelier.exporting.graphs import write_onnx, write_torchscript
from atelier.exporting.hub import write_enlarger_folder
from components.common.durable import write_bytes
from components.enhancement import open_network
from components.families.port import Graph
from interfaces.progress import Progress

INPUTS = {"image": ("N", 3, "H", "W")}
"""RGB in [0, 1], of any size; the result is about [0, 1], each side four times as long."""


def export(name: str, to: ExportFormat, folder: Path, progress: Progress) -> Exported:
    """See `atelier.exporting.export_enlarger`."""
    network = open_network(name, progress)
    stem = Path(name).stem

    def write_weights(path: Path) -> Path:
        tensors = {key: value.contiguous() for key, value in network.module.state_dict().items()}
        described = {
            "format": "pt",
            "architecture": network.architecture,
            "scale": "4",
            "sha256_of_source": network.sha256,
        }
        write_bytes(path, save(tensors, metadata=described))
        return path

    graph = Graph(network.module, INPUTS)
    if to == "safetensors":
        return Exported((write_weights(folder / f"{stem}.safetensors"),), None)
    if to == "hub-folder":
        return write_enlarger_folder(stem, network, graph, folder, write_weights)
    write, ending = (write_onnx, "onnx") if to == "onnx" else (write_torchscript, "pt")
    path = folder / f"{stem}.{ending}"
    return Exported((path,), write(graph, path))
