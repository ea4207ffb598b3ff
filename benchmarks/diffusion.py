"""Sampling sketch diffusion, against `denoising-diffusion-pytorch`; and quality by steps.

    python -m benchmarks diffusion
    python -m benchmarks.diffusion MODEL PREPARED     # quality by number of steps, no reference

The reference is that package's U-Net of like size with its own DDIM sampler, as it comes: three
sizes of features, attention where it has it by default, float32, channels first, and without the
flash attention that it offers for GPUs. Ours is the family's default, from noise alone. Both make
the same number of pictures in the same number of steps; weights are random, which costs the same.
Of like size means of as many weights: ours works on patches of 2×2 pixels, so at a quarter of the
positions, and much of the ratio is that; a second row has ours at every pixel too.
"""

import contextlib
import io
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import Ratio, compare
from components.common.checkpoints import load_weights
from components.common.images import float_to_pixels
from components.common.vision import import_torchvision
from components.families import FAMILIES
from components.families.port import Request, Shape
from components.families.sketch_diffusion.config import SamplerName
from components.families.trainer import Machine
from components.metrics import load_features, measure, reference_features, rows
from interfaces.igme import IGME
from interfaces.ipdt import IPDT

NUM_PICTURES = 8
STEPS = 8
SHAPE = Shape(resolution=64, num_styles=5)
REFERENCE_CHANNELS = 56
"""Channels with which the reference has as many weights as ours, as near as its heads allow."""

OURS: dict[str, dict[str, int]] = {
    "patches of 2×2": {},
    "every pixel": {"patch": 1, "smallest": 16},
}
"""Options of our networks: alike in number of weights, each with three sizes of features."""

STEPS_MEASURED = (4, 8, 12, 16, 24, 32)
SAMPLERS: tuple[SamplerName, ...] = ("ddim", "dpmpp_2m", "ddpm")
NUM_MEASURED = 500


def benchmark() -> Iterator[Ratio]:
    """Eight pictures of 64×64 in eight steps: as it comes, and at every pixel as theirs."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    theirs, their_weights = _reference(device)
    for name, sizes in OURS.items():
        mine, my_weights = _ours(device, sizes)
        title = f"sample {NUM_PICTURES} pictures in {STEPS} steps, {name}, {device}"
        ratio = compare(title, theirs, mine)
        speeds = NUM_PICTURES / ratio.reference_seconds, NUM_PICTURES / ratio.our_seconds
        weights = their_weights / 1e6, my_weights / 1e6
        for whose, speed, size in zip(("theirs", "ours"), speeds, weights, strict=True):
            print(f"{whose}: {speed:.2f} pictures/s of {size:.1f} million weights")
        yield ratio


def _reference(device: torch.device) -> tuple[Callable[[], Any], int]:
    import_torchvision()  # which the package imports, and which may need help
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet

    torch.manual_seed(0)
    network = Unet(dim=REFERENCE_CHANNELS, dim_mults=(1, 2, 4))
    diffusion = GaussianDiffusion(network, image_size=64, sampling_timesteps=STEPS).to(device)

    def run() -> None:
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            diffusion.sample(batch_size=NUM_PICTURES).cpu()

    return run, sum(weight.numel() for weight in network.parameters())


def _ours(device: torch.device, sizes: Mapping[str, int]) -> tuple[Callable[[], Any], int]:
    family = FAMILIES["sketch_diffusion"]
    config = family.config.model_validate(sizes)
    rng = torch.Generator().manual_seed(0)
    trainer = family.method().build_trainer(config, SHAPE, Machine(device, torch.float32, rng))
    sampler = family.method().build_sampler(trainer.network, config)
    options = family.options.model_validate({"steps": STEPS})
    styles = torch.eye(SHAPE.num_styles)[[0] * NUM_PICTURES]

    def run() -> None:
        sampler.sample(Request(range(NUM_PICTURES), styles, options))

    return run, sum(weight.numel() for weight in trainer.network.parameters())


def quality_by_steps(model: IGME, prepared: IPDT) -> Iterator[tuple[str, int, float]]:
    """Sampler, steps and Fréchet distance to the learnt images, by the embedded features.

    500 pictures from noise alone each, the same seeds throughout, styles as in the prepared set.
    """
    family = FAMILIES["sketch_diffusion"]
    config: Any = family.config.model_validate(model.config)
    shape = Shape(model.resolution, len(model.styles))
    network = family.method().build_network(config, shape)
    network.load_state_dict(load_weights(model.weights_path, model.weights_sha256))
    sampler = family.method().build_sampler(network, config)
    features = load_features("embedded")
    learnt = rows(prepared, "training", model.held_out_fraction)
    real = reference_features(prepared, features, prepared.directory)[learnt]
    labels = torch.from_numpy(prepared.labels()[learnt]).sort().values
    chosen = labels[torch.linspace(0, len(labels) - 1, NUM_MEASURED).long()]
    styles = torch.eye(len(model.styles))[chosen]
    for name in SAMPLERS:
        for steps in STEPS_MEASURED:
            if config.schedule == "sixteen" and steps > 16:
                continue
            options = family.options.model_validate({"steps": steps, "sampler": name})
            pictures = sampler.sample(Request(range(NUM_MEASURED), styles, options))
            (found,) = measure(
                features.extract(float_to_pixels(pictures.numpy())),
                real,
                network=features,
                against="training",
                dataset_digest=prepared.digest,
                metrics=("frechet",),
            )
            yield name, steps, found.value


def main() -> None:
    """The curve of quality by steps, of a model's folder against a prepared set's."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m benchmarks.diffusion MODEL_FOLDER PREPARED_FOLDER")
    model, prepared = (Path(argument) for argument in sys.argv[1:])
    learnt = IPDT.from_json((prepared / "ipdt.json").read_bytes())
    for name, steps, distance in quality_by_steps(IGME.open(model), learnt):
        print(f"{name:<10} {steps:>4} steps  Fréchet distance {distance:.4f}", flush=True)


if __name__ == "__main__":
    main()
