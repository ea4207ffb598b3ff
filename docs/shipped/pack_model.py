"""Make a trained model ready to ship: weights in half precision, which is half the size.

    python docs/shipped/pack_model.py RUN/training/model components/common/shipped/sketch

Networks are computed in single precision all the same. Prints file, size and SHA-256 of each.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from components.common.checkpoints import load_weights, save_weights
from components.common.durable import sha256_of, write_bytes, write_text
from interfaces.igme import IGME


def main(trained: Path, packed: Path) -> None:
    """Write the model in `trained` into the folder `packed`."""
    model = IGME.open(trained)
    weights = load_weights(model.weights_path, model.weights_sha256)
    packed.mkdir(parents=True, exist_ok=True)
    halved = {
        name: weight.half() if weight.is_floating_point() else weight
        for name, weight in weights.items()
    }
    digest = save_weights(packed / model.weights_path.name, halved)
    write_bytes(packed / model.neighbours_path.name, model.neighbours_path.read_bytes())
    write_text(
        packed / "model.json", model.model_copy(update={"weights_sha256": digest}).manifest()
    )
    for file in sorted(packed.iterdir()):
        print(f"{file}  {file.stat().st_size / 1e6:.1f} MB  {sha256_of(file)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
