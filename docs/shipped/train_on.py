"""Train the sketch model on beside its critic, and keep what it paints in the embedded styles.

    python docs/shipped/train_on.py DATA WORKSPACE MODEL LARGE IMAGES OUTPUT LARGE_OUTPUT

MODEL is a model of the paintings in DATA and of the six embedded styles, LARGE the larger one
around it. OUTPUT becomes MODEL after so many images at the settings of `--preset flagship_64`,
LARGE_OUTPUT the larger model around that; `pack_model.py` makes them ready to ship.

The preset's batches have paintings alone, and it would forget the other styles. So three more rows
a batch are answers that MODEL gave on its way to pictures in those (`teach_styles.py`). The
works that new pictures begin from stay MODEL's. Goes on where it was stopped.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import sys
import tomllib
from pathlib import Path

import numpy as np
import torch
from teach_styles import (
    Kind,
    Ways,
    learn,
    off_the_way,
    prepared_paintings,
    teacher_of,
    ways_of,
    with_inner,
    write_folder,
)
from torch import Tensor, nn

from components.common.checkpoints import load_weights
from components.common.durable import write_bytes
from components.families import FAMILIES
from components.families.port import Shape
from components.families.sketch_diffusion.trainer import Trainer
from components.families.sketch_diffusion.works import MEMORISED
from components.families.trainer import Machine, Scalars
from components.training.ema import AveragedNetwork
from components.training_store.embedded import STYLES
from interfaces.igme import IGME

PRESET = tomllib.loads((Path(__file__).parents[2] / "settings" / "flagship_64.toml").read_text())
TRAIN = PRESET["train"]
ON_THE_WAY = 3
"""Further rows of a batch."""
ON_THE_WAY_WEIGHT = 3
"""Weight of one of them, beside 1 for a painting."""
OWN_PICTURES = 480
"""The model's own pictures whose ways are learnt."""


class GoingOnTrainer(Trainer):
    """Learns paintings as ever, and further rows as it answered them before."""

    ways: Ways

    def _loss(self, *part: Tensor) -> tuple[Tensor, Scalars]:
        loss, scalars = super()._loss(*part)
        far = off_the_way(self.denoiser, self.ways.draw(ON_THE_WAY, self.images_seen))
        return loss + far * ON_THE_WAY * ON_THE_WAY_WEIGHT / self.config.batch_size, scalars


def main(
    data: str,
    workspace: Path,
    before: Path,
    large: Path,
    images: int,
    output: Path,
    large_output: Path,
) -> None:
    """Train on until so many images were seen, and write both models with their digests."""
    for folder in (output, large_output):
        folder.mkdir(parents=True, exist_ok=True)
    model = IGME.open(before)
    prepared = prepared_paintings(data, workspace)
    training, _ = prepared.split(model.held_out_fraction)
    weights = load_weights(model.weights_path, model.weights_sha256)
    embedded = np.flatnonzero(np.isin(model.styles, list(STYLES)))
    trainer = trainer_from(model, weights)
    trainer.ways = ways_of(
        teacher_of(model, weights),
        model,
        embedded,
        OWN_PICTURES,
        workspace / f"own-{model.weights_sha256[:16]}.safetensors",
    )
    averaged = AveragedNetwork(trainer.network, TRAIN["ema_halflife_images"], TRAIN["ema_ramp_up"])
    paintings = Kind(
        prepared.images()[training], prepared.labels()[training], trainer.config.batch_size
    )
    state = workspace / f"training-on-{model.weights_sha256[:16]}.pt"
    learn(trainer, averaged, [paintings], images, state)
    images = trainer.images_seen
    works = {f"works.{name}": weights[f"works.{name}"] for name in MEMORISED}
    assert trainer.critic is not None
    write_model(model, images, {**averaged.state_dict(), **works}, trainer.critic, output)
    write_large(IGME.open(large), images, IGME.open(output), large_output)


def trainer_from(model: IGME, weights: dict[str, Tensor]) -> GoingOnTrainer:
    """A trainer that begins with the model and its critic."""
    before = FAMILIES[model.family].config.model_validate(model.config)
    config = FAMILIES[model.family].config.model_validate(model.config | TRAIN["options"])
    machine = Machine(torch.device("cpu"), torch.float32, torch.Generator().manual_seed(1))
    trainer = GoingOnTrainer(config, Shape(model.resolution, len(model.styles)), machine)
    critic = load_weights(model.companion_path("critic"), model.companions["critic"])
    trainer.start_from(weights, {"critic": critic}, [*range(len(model.styles))], before)
    return trainer


def write_model(
    model: IGME, images: int, weights: dict[str, Tensor], critic: nn.Module, output: Path
) -> None:
    """Write the folder of the model that was trained on."""
    seen = {"images_seen": model.images_seen + images}
    write_folder(model, weights, critic.state_dict(), output, seen)
    write_bytes(output / model.neighbours_path.name, model.neighbours_path.read_bytes())


def write_large(large: IGME, images: int, inner: IGME, output: Path) -> None:
    """Write the folder of the larger model, with the new network in its middle."""
    critic = load_weights(large.companion_path("critic"), large.companions["critic"])
    seen = {"images_seen": large.images_seen + images}
    write_folder(large, with_inner(large, inner), critic, output, seen)
    write_bytes(output / large.neighbours_path.name, large.neighbours_path.read_bytes())


if __name__ == "__main__":
    data, workspace, before, large, images, *outputs = sys.argv[1:]
    main(data, Path(workspace), Path(before), Path(large), int(images), *map(Path, outputs))
