"""A folder as model hubs have them: card, description, weights, ONNX, and ten lines that run it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from atelier.exporting import Exported
from atelier.exporting.graphs import write_onnx
from components.common.durable import write_text
from components.common.models.card import card_of
from components.families.port import Graph
from interfaces.igme import IGME

if TYPE_CHECKING:
    from components.enhancement.weights import Network

_BEGIN = """\
import json, sys
import numpy, onnxruntime
from PIL import Image

"""

_SAVE = """
pixels = ((images[0].transpose(1, 2, 0) + 1) * 127.5).round().clip(0, 255)
Image.fromarray(pixels.astype("uint8")).save("picture.png")
"""

FROM_LATENTS = f"""{_BEGIN}\
config = json.load(open("config.json"))
network = onnxruntime.InferenceSession("model.onnx")
draws = numpy.random.default_rng(int(sys.argv[1]))
inputs = {{"z": draws.standard_normal((1, config["latent_dim"]), "float32")}}
inputs["styles"] = numpy.eye(len(config["styles"]), dtype="float32")[[0]]
(images,) = network.run(None, {{i.name: inputs[i.name] for i in network.get_inputs()}})
{_SAVE}"""
"""`python run.py SEED`: a picture in the first style."""

FROM_NOISE = f"""{_BEGIN}\
config = json.load(open("config.json"))
network = onnxruntime.InferenceSession("model.onnx")
shapes = {{i.name: (1, *i.shape[1:]) for i in network.get_inputs()}}
inputs = {{name: numpy.zeros(shape, "float32") for name, shape in shapes.items()}}
inputs["mask"][:], inputs["styles"][0, 0] = 1, 1
images = numpy.random.default_rng(int(sys.argv[1])).standard_normal(shapes["noisy"], "float32")
levels = numpy.linspace(1, 0, 31, dtype="float32")
for t, s in zip(levels, levels[1:]):  # DDIM, 30 steps
    (found,) = network.run(None, inputs | {{"noisy": images, "t": t[None]}})
    images = (1 - s) * found.clip(-1, 1) + s / t * (images - (1 - t) * found.clip(-1, 1))
{_SAVE}"""
"""`python run.py SEED`: a picture in the first style, without a drawing."""

FROM_PICTURE = f"""{_BEGIN}\
config = json.load(open("config.json"))
network = onnxruntime.InferenceSession("to_second.onnx")  # or to_first.onnx
picture = Image.open(sys.argv[1]).convert("RGB").resize((config["resolution"],) * 2)
images = numpy.asarray(picture, "float32").transpose(2, 0, 1)[None] / 127.5 - 1
(images,) = network.run(None, {{"picture": images}})
{_SAVE}"""
"""`python run.py PICTURE`: the picture turned towards the second style."""

ENLARGE = """\
import sys
import numpy, onnxruntime
from PIL import Image

network = onnxruntime.InferenceSession("model.onnx")
pixels = numpy.asarray(Image.open(sys.argv[1]).convert("RGB"), "float32") / 255
(images,) = network.run(None, {"image": pixels.transpose(2, 0, 1)[None]})
pixels = (images[0].transpose(1, 2, 0) * 255).round().clip(0, 255)
Image.fromarray(pixels.astype("uint8")).save("picture.png")
"""
"""`python run.py PICTURE`: the picture, each side four times as long."""

_BY_INPUT = {
    "z": (FROM_LATENTS, "SEED"),
    "noisy": (FROM_NOISE, "SEED"),
    "picture": (FROM_PICTURE, "PICTURE"),
}
"""Code that runs a network without Atelier, and its argument, by the network's first input."""


def write_folder(
    model: IGME,
    graphs: Mapping[str, Graph],
    folder: Path,
    write_weights: Callable[[IGME, Path], Path],
) -> Exported:
    """Write a model's folder: README.md, config.json, run.py, model.safetensors and ONNX."""
    networks = {folder / f"{name}.onnx": graph for name, graph in graphs.items()}
    difference = max(write_onnx(graph, path) for path, graph in networks.items())
    program, argument = _BY_INPUT[next(iter(next(iter(graphs.values())).inputs))]
    described = dict(model.config) | {
        "family": model.family,
        "resolution": model.resolution,
        "styles": list(model.styles),
        "digest": model.digest,
    }
    texts = {
        "config.json": json.dumps(described, indent=2, sort_keys=True) + "\n",
        "run.py": program,
        "README.md": f"{card_of(model)}\n{_usage(program, argument)}\n",
    }
    weights = write_weights(model, folder / "model.safetensors")
    return Exported((*networks, weights, *_written(folder, texts)), difference)


def write_enlarger_folder(
    name: str,
    network: "Network",
    graph: Graph,
    folder: Path,
    write_weights: Callable[[Path], Path],
) -> Exported:
    """Write an enlarger's folder, with the same files."""
    difference = write_onnx(graph, folder / "model.onnx")
    described = {"architecture": network.architecture, "scale": 4, "sha256": network.sha256}
    card = "\n".join(
        [
            "---",
            "pipeline_tag: image-to-image",
            'tags: ["super-resolution"]',
            "---",
            "",
            f"# {name}",
            "",
            f"A {network.architecture} that makes each side of a picture four times as long. Its "
            f"weights came from a file with the SHA-256 `{network.sha256}`; they keep the licence "
            "of their publisher.",
            "",
            _usage(ENLARGE, "PICTURE"),
            "",
        ]
    )
    texts = {
        "config.json": json.dumps(described, indent=2) + "\n",
        "run.py": ENLARGE,
        "README.md": card,
    }
    weights = write_weights(folder / "model.safetensors")
    return Exported((folder / "model.onnx", weights, *_written(folder, texts)), difference)


def _usage(program: str, argument: str) -> str:
    return (
        "## How to run it\n\n"
        "With numpy, onnxruntime and Pillow, in this folder: "
        f"`python run.py {argument}` writes `picture.png`.\n\n```python\n{program}```"
    )


def _written(folder: Path, texts: Mapping[str, str]) -> tuple[Path, ...]:
    for name, text in texts.items():
        write_text(folder / name, text)
    return tuple(folder / name for name in texts)
