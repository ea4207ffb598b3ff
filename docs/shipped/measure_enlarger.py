"""Measure the embedded enlarger on the paintings that it was not taught with.

    python docs/shipped/measure_enlarger.py paintings-224.zip WORKSPACE SHEET.png \
        [realesr-general-x4v3.pth]

Each held-out painting is reduced by four (bicubic, antialiased) and enlarged again, by repeated
pixels, by plain resampling, by the embedded network, and by published weights where they are given.
Prints a table and draws a sheet of eight of the paintings.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import correlate1d

sys.path.insert(0, str(Path(__file__).parents[2]))

from components.common.images import contact_sheet, float_to_pixels, pixels_to_float
from components.enhancement import RealESRGANEnhancer
from components.metrics.features import FeatureNetwork, embedded_features
from docs.shipped.make_enlarger import HELD_OUT, in_order, read
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.record import FileOrigin

SHOWN = 8
BATCH_SIZE = 20
TILE, TILE_STEP = 64, 80  # pixels: nine tiles of a painting, as large as the encoder looks at

Way = Callable[[np.ndarray], np.ndarray]
"""uint8 (N, H, W, 3) => uint8 (N, 4H, 4W, 3)."""


def main(data: str, workspace: Path, sheet: Path, published: list[Path]) -> None:
    """Print a row for each way of enlarging, and write the sheet."""
    images, names = read(data, 224, workspace)
    truth = images[in_order(names)[:HELD_OUT]]
    small = reduced(truth)
    ways: dict[str, Way] = {
        "nearest": lambda pixels: pixels.repeat(4, axis=1).repeat(4, axis=2),
        "lanczos": by_enhancer(IES(enhancer="lanczos")),
        "embedded": by_enhancer(IES(enhancer="embedded")),
        **{path.stem: by_enhancer(IES(weights=path)) for path in published},
    }
    network = embedded_features(device="cpu")
    found: dict[str, np.ndarray] = {}
    figures: dict[str, list[np.ndarray]] = {}
    print(f"{len(truth)} held-out paintings; mean of each figure\n")
    print("| enlarged by | PSNR, dB | SSIM | distance of tiles | of the whole | ms each |")
    print("|---|---|---|---|---|---|")
    for name, way in ways.items():
        way(small[:BATCH_SIZE])  # chooses its route
        started = time.perf_counter()
        batches = range(0, len(small), BATCH_SIZE)
        found[name] = np.concatenate([way(small[n : n + BATCH_SIZE]) for n in batches])
        seconds = (time.perf_counter() - started) / len(small)
        figures[name] = [
            psnr(found[name], truth),
            ssim(luma(found[name]), luma(truth)),
            distance(network, tiles(found[name]), tiles(truth)).reshape(len(truth), -1).mean(1),
            distance(network, found[name], truth),
        ]
        means = [figure.mean() for figure in figures[name]]
        print(
            f"| {name} | {means[0]:.2f} | {means[1]:.4f} | {means[2]:.2f} | {means[3]:.3f} | "
            f"{1000 * seconds:.1f} |",
            flush=True,
        )
    signs = (1, 1, -1, -1)
    better = [
        f"{(sign * (ours - plain) > 0).mean():.1%}"
        for sign, ours, plain in zip(signs, figures["embedded"], figures["lanczos"], strict=True)
    ]
    print(f"\nembedded is better than lanczos on {', '.join(better)} of the paintings")
    shown = range(0, len(truth), len(truth) // SHOWN)[:SHOWN]
    rows = [pictures[place] for place in shown for pictures in (*found.values(), truth)]
    contact_sheet(rows, columns=len(found) + 1).save(sheet)


def reduced(pixels: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, 3) => uint8 (N, H/4, W/4, 3), as Pillow reduces: bicubic, antialiased."""
    size = (pixels.shape[2] // 4, pixels.shape[1] // 4)
    bicubic = Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(p).resize(size, bicubic)) for p in pixels])


def by_enhancer(settings: IES) -> Way:
    """The enhancement component itself, with these settings."""
    enhancer = RealESRGANEnhancer()

    def way(pixels: np.ndarray) -> np.ndarray:
        origins = (FileOrigin(name="x.png", sha256="0" * 64),) * len(pixels)
        (result,) = enhancer.enhance(
            [IGDT(images=pixels_to_float(pixels), origins=origins)], settings
        )
        return float_to_pixels(result.images)

    return way


def psnr(pixels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio over RGB of uint8 (N, H, W, 3), dB: (N,)."""
    apart = pixels.astype(np.float64) - truth
    return 10 * np.log10(255**2 / np.square(apart).mean(axis=(1, 2, 3)))


def luma(pixels: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, 3) => float64 (N, H, W), 0 to 255, with BT.601's weights."""
    return pixels @ np.array([0.299, 0.587, 0.114])


def ssim(planes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean structural similarity of planes (N, H, W), 0 to 255, at most 1: (N,).

    Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004,
    equation 13 with its constants, over the windows of 11×11 (Gaussian, deviation 1.5) that lie
    wholly inside.
    """
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = local_mean(planes), local_mean(truth)
    variance_x = local_mean(planes * planes) - mean_x**2
    variance_y = local_mean(truth * truth) - mean_y**2
    covariance = local_mean(planes * truth) - mean_x * mean_y
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity /= (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    return similarity.mean(axis=(1, 2))


def local_mean(planes: np.ndarray) -> np.ndarray:
    """Weighted means of the windows of 11×11: (N, H, W) => (N, H - 10, W - 10)."""
    weights = np.exp(-np.square(np.arange(-5, 6) / 1.5) / 2)
    weights /= weights.sum()
    rows = correlate1d(planes, weights, axis=1)
    return correlate1d(rows, weights, axis=2)[:, 5:-5, 5:-5]


def tiles(pixels: np.ndarray) -> np.ndarray:
    """uint8 (N, 224, 224, 3) => (9N, 64, 64, 3): at their own size, where detail still counts."""
    views = np.lib.stride_tricks.sliding_window_view(pixels, (TILE, TILE), axis=(1, 2))
    cut = views[:, ::TILE_STEP, ::TILE_STEP].transpose(0, 1, 2, 4, 5, 3)
    return cut.reshape(-1, TILE, TILE, 3)


def distance(network: FeatureNetwork, pixels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Euclidean distances between the embedded features of pictures and of the originals: (N,)."""
    return (network.extract(pixels) - network.extract(truth)).norm(dim=1).numpy()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), [Path(path) for path in sys.argv[4:]])
