"""Enlarging, against the stock `RealESRGANer` on the same weights.

`python -m benchmarks.enhancement [ROW …] [--route ROUTE]` measures rows by name, on a route;
`make bench` the quick ones. RRDBNet has seeded weights (x4plus is not at hand), and so has the
compact network where `realesr-general-x4v3.pth` is not beside the project. Pictures are paintings
where they are at hand, else drawn.
"""

import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch

import io
import statistics
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.measure import Ratio, watched
from components.common.images import float_to_pixels, pixels_to_float
from components.enhancement import RealESRGANEnhancer
from components.enhancement.routes import probe_pictures
from components.enhancement.shim import network_classes
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.record import FileOrigin

SHARED = Path(os.environ.get("SHARED_DATA", Path(__file__).resolve().parents[2] / "shared"))


@dataclass(frozen=True)
class Row:
    network: str
    count: int
    height: int
    width: int
    rounds: int
    stock_tile: int = 0  # 0: untiled; else the side it is given, with its own padding of 10


ROWS = {
    "compact-16x64": Row("compact", 16, 64, 64, 5),
    "compact-256": Row("compact", 1, 256, 256, 3),
    "compact-1000x700": Row("compact", 1, 700, 1000, 1),
    "rrdbnet-16x64": Row("RRDBNet", 16, 64, 64, 1),
    "rrdbnet-256": Row("RRDBNet", 1, 256, 256, 1),
    "rrdbnet-1000x700": Row("RRDBNet", 1, 700, 1000, 1, stock_tile=400),
}


def benchmark() -> Iterator[Ratio]:
    """The quick rows, on the route that is chosen here."""
    for name in ("compact-16x64", "compact-256"):
        yield measure(ROWS[name], "auto")[0]


def measure(row: Row, route: Any) -> tuple[Ratio, str]:
    """Ratio, and what else there is to say: route, deviation from the stock result, memory."""
    network = _network(row.network)
    pixels = _pictures(row)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        torch.save({"params": network.state_dict()}, path)
        stock = _stock(network, path, row.stock_tile)
        settings = IES(scale=4, weights=path, route=route)
        enhancer, origin = RealESRGANEnhancer(), FileOrigin(name="x.png", sha256="0" * 64)
        batch = IGDT(images=pixels_to_float(pixels), origins=(origin,) * row.count)
        records = set()

        def theirs() -> np.ndarray:  # BGR, as OpenCV reads
            results = [stock.enhance(p[..., ::-1].copy())[0] for p in pixels]
            return np.stack(results)[..., ::-1]

        def ours() -> np.ndarray:
            (result,) = enhancer.enhance([batch], settings)
            records.add(result.enhancement.route)
            return float_to_pixels(result.images)

        if row.rounds > 1:
            theirs()
        else:
            stock.enhance(pixels[0, :64, :64])
        small = IGDT(images=batch.images[:1, :, :64, :64].copy(), origins=(origin,))
        list(enhancer.enhance([small], settings))  # chooses the route, once on a machine
        pairs = [(watched(theirs), watched(ours)) for _ in range(row.rounds)]
        # Stock mirrors ten pixels beyond two edges, so that pixels near those come out otherwise.
        stock.pre_pad = 0
        apart = np.abs(theirs().astype(int) - pairs[0][1].result)
    seconds = [(reference.seconds, mine.seconds) for reference, mine in pairs]
    name = f"enlarge {row.count} of {row.width}×{row.height}, {row.network}"
    ratio = Ratio(
        f"{name}, against RealESRGANer",
        statistics.median(s for s, _ in seconds),
        statistics.median(s for _, s in seconds),
        tuple(theirs / mine for theirs, mine in seconds),
    )
    memory = " against ".join(f"{max(p[n].mebibytes for p in pairs):.0f}" for n in (1, 0))
    words = (
        f"    route {', '.join(map(str, records))}; from the same network at most {apart.max()} "
        f"levels of 255, mean {apart.mean():.4f}; peak {memory} MiB above the start"
    )
    return ratio, words


def _network(name: str) -> torch.nn.Module:
    rrdbnet, compact = network_classes()
    torch.manual_seed(0)
    if name == "RRDBNet":
        return _seeded(rrdbnet(3, 3, 4, 64, 23, 32).eval())
    network = compact(num_feat=64, num_conv=32, upscale=4).eval()
    real = SHARED / "weights" / "realesr-general-x4v3.pth"
    if real.exists():
        state = torch.load(real, map_location="cpu", weights_only=True)
        network.load_state_dict(state["params"])
    return network


@torch.inference_mode()
def _seeded(network: Any) -> torch.nn.Module:
    """He weights, the output brought to the middle of [0, 1]."""
    for weight in network.parameters():
        if weight.ndim == 4:
            torch.nn.init.kaiming_normal_(weight, a=0.2)
    result = network(torch.from_numpy(probe_pictures(1)))
    network.conv_last.weight.mul_(0.2 / result.std())
    network.conv_last.bias.fill_(0.5 - result.mean() * 0.2 / result.std())
    return network


def _stock(network: torch.nn.Module, path: Path, tile: int) -> Any:
    from realesrgan import RealESRGANer

    return RealESRGANer(scale=4, model_path=str(path), model=network, tile=tile, half=False)


def _pictures(row: Row) -> np.ndarray:
    """uint8 (count, height, width, 3)."""
    archive = SHARED / "data" / "paintings-224.zip"
    size = (row.width, row.height)
    if not archive.exists():
        drawn = float_to_pixels(probe_pictures(row.count, max(size)) * 2 - 1)
        return drawn[:, : row.height, : row.width].copy()
    with zipfile.ZipFile(archive) as paintings:
        names = [name for name in paintings.namelist() if name.endswith(".jpg")]
        chosen = np.random.default_rng(0).choice(names, row.count, replace=False)
        images = [Image.open(io.BytesIO(paintings.read(name))).convert("RGB") for name in chosen]
    return np.stack([np.asarray(image.resize(size)) for image in images])


def main(arguments: list[str]) -> None:
    route = "auto"
    if "--route" in arguments:
        place = arguments.index("--route")
        route = arguments[place + 1]
        del arguments[place : place + 2]
    for name in arguments or ROWS:
        ratio, words = measure(ROWS[name], route)
        print(f"{ratio}\n{words}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
