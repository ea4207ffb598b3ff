"""Survival and visibility of TrustMark's watermark: `python -m benchmarks.watermarks`.

It needs the extra 'watermark' and TrustMark's weights. The pictures are those that the shipped
model makes, enlarged to 256 and 1024 pixels.
"""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from atelier.assembly import assemble
from components.common.shipped import find_shipped
from components.conversion.watermark import check_watermark, marked, trustmark_networks
from interfaces.ies import IES
from interfaces.igme import IGME
from interfaces.igs import IGS

NUM_PICTURES = 8
SIDES = (256, 1024)


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def _half(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def _cropped(image: Image.Image) -> Image.Image:
    """A tenth of either side cut off, from the left and from the top."""
    return image.crop((image.width // 10, image.height // 10, image.width, image.height))


ATTACKS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "none": lambda image: image,
    "JPEG 50": lambda image: _jpeg(image, 50),
    "half size": _half,
    "crop 10 %": _cropped,
    "flopped": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned by 90 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_90),
}


def main() -> None:
    """Print the PSNR of each size, then how many ids are read after each attack."""
    check_watermark()
    for side in SIDES:
        with tempfile.TemporaryDirectory() as folder:
            pictures = _pictures(side, Path(folder))
        pairs = [marked(pixels, "auto") for pixels in pictures]
        noise = [_psnr(a, b) for a, (b, _) in zip(pictures, pairs, strict=True)]
        print(f"{side} pixels: PSNR {np.mean(noise):.1f} dB ({min(noise):.1f} to {max(noise):.1f})")
        for name, attack in ATTACKS.items():
            read = sum(_holds(attack(Image.fromarray(pixels)), mark) for pixels, mark in pairs)
            print(f"{side} pixels, {name}: {read} of {len(pairs)} ids read")


def _pictures(side: int, workspace: Path) -> list[np.ndarray]:
    parts = assemble(workspace)
    model = IGME.open(find_shipped(Path("shipped")))
    request = IGS(count=NUM_PICTURES, originality=False)
    generated = parts.generation.generate(model, request)
    larger = IES.model_validate({"scale": side // model.resolution, "enhancer": "lanczos"})
    return [
        ((image.transpose(1, 2, 0) + 1) * 127.5).round().astype(np.uint8)
        for batch in parts.enhancement.enhance(generated, larger)
        for image in batch.images
    ]


def _psnr(before: np.ndarray, after: np.ndarray) -> float:
    error = np.mean((before.astype(np.float64) - after) ** 2)
    return float(10 * np.log10(255**2 / error))


def _holds(image: Image.Image, name: str) -> bool:
    bits, is_found, _ = trustmark_networks().decode(image, MODE="binary")
    return is_found and int(bits, 2) == int(name, 16)


if __name__ == "__main__":
    main()
