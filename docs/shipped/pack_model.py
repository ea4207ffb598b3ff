"""Make a trained model ready to ship: weights in half precision, which is half the size.

    python docs/shipped/pack_model.py RUN/training/model components/common/shipped/sketch

Networks are computed in single precision all the same. Prints file, size and SHA-256 of each.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from components.common.checkpoints import halved, load_weights, save_weights
from components.common.durable import sha256_of, write_bytes, write_text
from interfaces.igme import IGME, MODEL_FILE


def main(trained: Path, packed: Path) -> None:
    """Write the model in `trained` into the folder `packed`."""
    model = IGME.open(trained)
    packed.mkdir(parents=True, exist_ok=True)
    write_bytes(packed / model.neighbours_path.name, model.neighbours_path.read_bytes())
    changes = {
        "weights_sha256": _halve(model.weights_path, model.weights_sha256, packed),
        "companions": {
            name: _halve(model.companion_path(name), digest, packed)
            for name, digest in model.companions.items()
        },
    }
    write_text(packed / MODEL_FILE, model.model_copy(update=changes).manifest())
    for file in sorted(packed.iterdir()):
        print(f"{file}  {file.stat().st_size / 1e6:.1f} MB  {sha256_of(file)}")


def _halve(path: Path, sha256: str, packed: Path) -> str:
    """Write a file of weights in half precision; returns its SHA-256."""
    return save_weights(packed / path.name, halved(load_weights(path, sha256)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
