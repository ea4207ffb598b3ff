"""Generating, from settings in (IGS) to pictures out (IGDT), against calling the network itself.

    python -m benchmarks overhead
    python -m benchmarks.overhead [FAMILY …]      # CPU seconds and memory

Both in one process, in turn, on one model of the family's default size with seeded weights, which
is loaded before. The reference draws its latents from one generator and calls the network as we do:
for eight pictures at a time, Stable Diffusion's pipeline for one. That pictures are computed by
eights, so that they do not depend on their company, has a price of its own: what one call for all
of them would cost is told beside it. Numbers of pictures are multiples of eight, since one alone
costs as much as eight by design. Originality is left out: a measurement, not a way through.
The last row is the price of the guards round the ports, where the least is done between them.
"""

import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch

import itertools
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from atelier.adoption import Adoption, adopt
from atelier.assembly import assemble
from benchmarks.measure import Ratio, compare, watched
from components.common.checkpoints import load_weights, save_weights
from components.common.images import pixels_to_float
from components.common.shipped import SHIPPED_MODELS
from components.families import FAMILIES
from components.families.port import Shape
from components.families.sampling import SAMPLING_BATCH
from components.families.trainer import Machine
from components.generation import create
from interfaces.components import PORTS, Components
from interfaces.ics import ICS
from interfaces.ies import IES
from interfaces.igme import IGME
from interfaces.igs import IGS

STYLES = ("Baroque", "Impressionism", "Pointillism", "Rococo", "Ukiyo_e")
SIDE = 64
ROUNDS = 7
PROMPT = "a garden at dusk"
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """A family at work, ours and directly."""

    counts: Sequence[int]
    at_once: Callable[[Any, int, Path], np.ndarray]
    """The network (or pipeline), how many pictures, a picture's file => the pictures."""
    options: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


def _latents(network: Any, count: int, dim: int) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(0))


def _styles(count: int) -> torch.Tensor:
    return torch.eye(len(STYLES))[[number % len(STYLES) for number in range(count)]]


def _dcgan(network: Any, count: int, path: Path) -> np.ndarray:
    return network(_latents(network, count, 128)).clamp(-1, 1).numpy()


def _conditional(dim: int) -> Callable[[Any, int, Path], np.ndarray]:
    def run(network: Any, count: int, path: Path) -> np.ndarray:
        return network(_latents(network, count, dim), _styles(count)).clamp(-1, 1).numpy()

    return run


def _vae(network: Any, count: int, path: Path) -> np.ndarray:
    return network.decoder(_latents(network, count, 128), _styles(count)).clamp(-1, 1).numpy()


def _cyclegan(network: Any, count: int, path: Path) -> np.ndarray:
    with Image.open(path) as image:
        source = torch.from_numpy(pixels_to_float(np.asarray(image.convert("RGB"))[None]))
    return network.to_second(source).numpy()


def _sketch_diffusion(network: Any, count: int, path: Path) -> np.ndarray:
    """DDIM (1 - t) x0 + t ε from t = 1 to 0, in even steps."""
    x = torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    x = x.to(memory_format=torch.channels_last)
    styles, mask = _styles(count), torch.ones(count, 1, SIDE, SIDE)
    hints = torch.zeros(count, network.num_hints, SIDE, SIDE)
    levels = np.linspace(1, 0, DIFFUSION_STEPS + 1).tolist()
    for t, s in itertools.pairwise(levels):
        x0 = network(x, torch.full((count,), t), styles, mask, hints).clamp(-1, 1)
        x = (1 - s) * x0 + s * (x - (1 - t) * x0) / t
    return x.numpy()


def _stable_diffusion(pipeline: Any, count: int, path: Path) -> np.ndarray:
    draws = (torch.Generator().manual_seed(seed) for seed in range(count))
    made = [
        pipeline(PROMPT, generator=rng, num_inference_steps=SD_STEPS, output_type="np").images
        for rng in draws
    ]
    return np.concatenate(made).transpose(0, 3, 1, 2) * 2 - 1


DIFFUSION_STEPS = 4
SD_STEPS = 50

CASES = {
    "dcgan": Case((16, 64), _dcgan),
    "r3gan": Case((16, 64), _conditional(64)),
    "stylegan2": Case((16, 64), _conditional(256)),
    "vae": Case((16, 64), _vae),
    "cyclegan": Case((1,), _cyclegan, needs=("source",)),
    "sketch_diffusion": Case((16,), _sketch_diffusion, {"steps": DIFFUSION_STEPS}),
    "stable_diffusion": Case((2,), _stable_diffusion, {"steps": SD_STEPS}, needs=("prompt",)),
}


@dataclass(frozen=True)
class Ways:
    """To the same number of pictures."""

    name: str
    ours: Callable[[], object]
    directly: Callable[[], object]
    at_once: Callable[[], object]


def benchmark() -> Iterator[Ratio]:
    """Every family, 64×64 (CycleGAN: one picture of 256×256)."""
    with tempfile.TemporaryDirectory() as folder:
        for name in _usable():
            for ways in _ways(name, Path(folder) / name):
                label = f"generate {ways.name}, against its network"
                yield compare(label, ways.directly, ways.ours)
        yield _guards(Path(folder) / "guards")


def _guards(folder: Path) -> Ratio:
    """A run's 64 pictures, 64×64 to 256×256 PNG, each component behind its guard or bare."""
    model = IGME.open(SHIPPED_MODELS["shipped"])
    bare = Components(
        **{name: import_module(f"components.{name}").create(folder) for name in PORTS}
    )
    guarded, runs = assemble(folder), itertools.count()
    label = "64 pictures of a run to 256x256, guarded against bare"
    return compare(
        label,
        lambda: _keep_all(bare, model, f"{next(runs)}"),
        lambda: _keep_all(guarded, model, f"{next(runs)}"),
    )


def _keep_all(parts: Components, model: IGME, run: str) -> int:
    """Generate, enlarge by the embedded network, encode and keep; the number of files."""
    request = IGS(count=64, batch_size=64)
    generated = parts.generation.generate(model, request)
    enlarged = parts.enhancement.enhance(generated, IES(enhancer="embedded", device="cpu"))
    images = parts.conversion.convert(enlarged, ICS())
    return sum(parts.results_store.keep(image, run).id > 0 for image in images)


def measure(name: str) -> Iterator[str]:
    """A line for each number of pictures: CPU seconds, share of them lost, peaks of memory."""
    with tempfile.TemporaryDirectory() as folder:
        for ways in _ways(name, Path(folder)):
            alternating = (ways.directly, ways.ours, ways.at_once)
            for way in alternating:
                way()
            yield _line(ways.name, [[_cost(way) for way in alternating] for _ in range(ROUNDS)])


def _cost(way: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds and MiB; the pictures are let go."""
    found = watched(way)
    return found.cpu_seconds, found.mebibytes


def _line(name: str, rounds: Sequence[Sequence[tuple[float, float]]]) -> str:
    """Medians of times and of ratios within a round; peaks above what the process held before."""
    lost = [ours[0] / directly[0] - 1 for directly, ours, _ in rounds]
    by_eights = [directly[0] / at_once[0] - 1 for directly, _, at_once in rounds]
    seconds = [statistics.median(costs[n][0] for costs in rounds) for n in (0, 1)]
    peaks = " / ".join(f"{max(costs[n][1] for costs in rounds):.0f}" for n in range(3))
    low, middle, high = statistics.quantiles(lost, n=4)
    return (
        f"{name:<24} {seconds[0]:7.4f} s {seconds[1]:7.4f} s  overhead {middle:+6.1%} "
        f"({low:+.1%} to {high:+.1%})  eights against one call {statistics.median(by_eights):+.0%}"
        f"  peaks {peaks} MiB"
    )


def _usable() -> list[str]:
    has_diffusers = find_spec("diffusers") is not None
    return [name for name in CASES if has_diffusers or name != "stable_diffusion"]


def _ways(name: str, folder: Path) -> Iterator[Ways]:
    """Ways to compare, for each number of pictures; the model is loaded by all three."""
    case = CASES[name]
    model = _adopted(folder) if name == "stable_diffusion" else _seeded(name, folder)
    network = _pipeline(folder) if name == "stable_diffusion" else _network(model)
    source = folder / "source.png"
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((4 * SIDE, 4 * SIDE), Image.Resampling.BICUBIC).save(source)
    generator = create(folder)
    given = {"source": source, "prompt": PROMPT}
    for count in case.counts:
        fields = {"count": count, "originality": False, "options": case.options}
        fields |= {kind: given[kind] for kind in case.needs}
        settings = IGS.model_validate(fields)

        @torch.no_grad()
        def at_once(count: int = count) -> np.ndarray:
            return case.at_once(network, count, source)

        def directly(count: int = count) -> object:
            parts = [min(SAMPLING_BATCH, count - n) for n in range(0, count, SAMPLING_BATCH)]
            return np.concatenate([at_once(part) for part in parts])

        def ours(settings: IGS = settings) -> object:
            return [batch.images for batch in generator.generate(model, settings)]

        yield Ways(f"{count} with {name}", ours, directly, at_once)


def _seeded(name: str, folder: Path) -> IGME:
    """A model of the family's default size: first weights of a training that was not begun."""
    config, shape = FAMILIES[name].config(), Shape(SIDE, len(STYLES))
    rng = torch.Generator().manual_seed(0)
    trainer = FAMILIES[name].method().build_trainer(config, shape, Machine(CPU, torch.float32, rng))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "weights.safetensors"
    return IGME(
        directory=folder,
        family=name,
        config=config.model_dump(),
        weights_sha256=save_weights(path, trainer.network.state_dict()),
        resolution=SIDE,
        styles=STYLES,
        dataset_name="none",
        dataset_digest=None,
        images_seen=0,
    )


def _network(model: IGME) -> torch.nn.Module:
    family = FAMILIES[model.family]
    shape = Shape(SIDE, len(STYLES))
    network = family.method().build_network(family.config.model_validate(model.config), shape)
    network.load_state_dict(load_weights(model.weights_path, model.weights_sha256))
    return network.eval()


def _adopted(folder: Path) -> IGME:
    """The tests' pipeline of very small networks, with seeded weights."""
    from tests.components.families.test_stable_diffusion import text_pipeline

    torch.manual_seed(0)
    text_pipeline(folder).save_pretrained(folder / "pipeline")
    return adopt(Adoption(sources=(str(folder / "pipeline"),)), folder / "model")


def _pipeline(folder: Path) -> Any:
    diffusers: Any = import_module("diffusers")
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
        str(folder / "pipeline"), local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def main() -> None:
    """The families named on the command line, or all; 'guards' for what they cost a run."""
    if sys.argv[1:] == ["guards"]:
        with tempfile.TemporaryDirectory() as folder:
            print(_guards(Path(folder)))
        return
    for name in sys.argv[1:] or _usable():
        for line in measure(name):
            print(line, flush=True)


if __name__ == "__main__":
    main()
