"""A sketch diffusion training that is small enough for a test."""

import torch

from components.families.port import Shape
from components.families.sketch_diffusion.config import SketchDiffusionConfig
from components.families.sketch_diffusion.trainer import Trainer
from components.families.trainer import Machine

TINY = {"batch_size": 4, "channels": 16, "max_channels": 32, "blocks": 1, "smallest": 4}


def tiny_trainer(side: int, seed: int = 0, **changes: object) -> Trainer:
    """A trainer of two styles for pictures of `side` pixels, with `TINY`'s network."""
    config = SketchDiffusionConfig.model_validate(TINY | changes)
    rng = torch.Generator().manual_seed(seed)
    return Trainer(config, Shape(side, 2), Machine(torch.device("cpu"), torch.float32, rng))
