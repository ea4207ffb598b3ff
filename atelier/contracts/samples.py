"""Small valid messages to test components with."""

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from interfaces.iedt import IEDT
from interfaces.igdt import IGDT
from interfaces.iodt import IODT
from interfaces.ipdt import IPDT
from interfaces.record import EnhancementRecord, FileOrigin, GeneratedOrigin, Record


def digest(text: str) -> str:
    """A well-formed digest that differs with the text."""
    return hashlib.sha256(text.encode()).hexdigest()


def make_origin(seed: int = 0, index: int = 0) -> GeneratedOrigin:
    """The origin of a generated picture."""
    return GeneratedOrigin(
        seed=seed,
        index=index,
        family="dcgan",
        model_digest=digest("model"),
        dataset_name="test",
        dataset_digest=digest("prepared"),
        style="waves",
        options={"truncation": 1.0},
    )


def make_images(n: int = 2, side: int = 16, seed: int = 0) -> np.ndarray:
    """Smooth random pictures, float32 (n, 3, side, side) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(-1, 1, (n, 3, 4, 4))
    fine = coarse.repeat(-(-side // 4), axis=2).repeat(-(-side // 4), axis=3)
    return np.ascontiguousarray(fine[:, :, :side, :side], dtype=np.float32)


def make_igdt(n: int = 2, side: int = 16, seed: int = 0) -> IGDT:
    """A generated batch of square pictures whose seeds follow `seed`."""
    origins = tuple(make_origin(seed + place, place) for place in range(n))
    return IGDT(images=make_images(n, side, seed), origins=origins)


def make_enhancement(scale: int = 4) -> EnhancementRecord:
    """The record of a plain resampling."""
    return EnhancementRecord(enhancer="lanczos", weights_sha256=None, scale=scale, strength=1.0)


def make_iedt(n: int = 2, side: int = 16, seed: int = 0) -> IEDT:
    """An enlarged batch of square pictures."""
    batch = make_igdt(n, side, seed)
    return IEDT(images=batch.images, origins=batch.origins, enhancement=make_enhancement())


def make_record(seed: int = 0) -> Record:
    """The record of a generated picture."""
    return Record(
        software="atelier test",
        origin=make_origin(seed),
        enhancement=make_enhancement(),
        conversion={"format": "png"},
        is_ai_generated=True,
    )


def make_file_origin(name: str = "a picture.png") -> FileOrigin:
    """The origin of a person's own picture."""
    return FileOrigin(name=name, sha256=digest(name))


def make_iodt(seed: int = 0) -> IODT:
    """An IODT whose bytes are a real PNG."""
    buffer = io.BytesIO()
    pixels = ((make_images(1, 16, seed)[0].transpose(1, 2, 0) + 1) * 127.5).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    data = buffer.getvalue()
    return IODT(
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        media_type="image/png",
        width=16,
        height=16,
        record=make_record(seed),
    )


def tiny_prepared(
    directory: Path, resolution: int = 16, n: int = 32, styles: int = 2, seed: int = 0
) -> IPDT:
    """A prepared set of smooth random pictures, each style with its own mean colour."""
    directory.mkdir(parents=True, exist_ok=True)
    labels = np.arange(n, dtype=np.int64) % styles
    images = make_images(n, resolution, seed) * 0.4 + (labels / styles - 0.25)[:, None, None, None]
    pixels = ((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)
    np.save(directory / "images.npy", np.ascontiguousarray(pixels))
    np.save(directory / "labels.npy", labels)
    sources = "".join(digest(f"file {place}") + "\n" for place in range(n))
    (directory / "sources.txt").write_text(sources)
    return IPDT(
        directory=directory,
        name="tiny",
        num_images=n,
        resolution=resolution,
        styles=tuple(f"style{place}" for place in range(styles)),
        source_digest=digest("collection"),
        digest=digest(f"prepared {resolution} {n} {styles} {seed}"),
    )
