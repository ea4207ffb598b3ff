"""Make the projection that turns the embedded encoder's features into 64 numbers.

    python docs/shipped/make_representation.py OUTPUT.safetensors

It takes the principal components that the shipped model of paintings keeps of the pictures it
learnt from, and scales each to unit variance over them.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from components.common.checkpoints import save_weights
from components.common.shipped import SHIPPED_MODELS
from components.metrics.originality import Neighbours


def main(output: Path) -> None:
    """Write the projection; prints its SHA-256."""
    known = Neighbours.load(SHIPPED_MODELS["shipped"] / "neighbours.safetensors")
    projection = known.basis / known.codes.float().std(dim=0)
    print(save_weights(output, {"mean": known.mean, "projection": projection}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
