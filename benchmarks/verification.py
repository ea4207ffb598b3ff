"""`verify` on forty files of every kind, each beside the answer that is right.

    python -m benchmarks.verification

It needs ImageMagick's `convert`, which saves some of the files again.
"""

import io
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from atelier.contracts.samples import make_enhancement, make_iedt
from atelier.verification import Verification, verify
from components.common.credentials.identity import open_identity
from components.common.credentials.making import make
from components.common.credentials.places import FOLDER, Files
from components.common.credentials.signing import sign
from components.conversion import ImageConverter, read_picture
from interfaces.ics import ICS
from interfaces.iedt import IEDT

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "avif": ".avif", "tiff": ".tif"}
SIDE = 48

_SOURCES = "http://cv.iptc.org/newscodes/digitalsourcetype/"


@dataclass(frozen=True)
class Case:
    """A file, and what may be said of it: of some, one of two answers is as right."""

    kind: str
    format: str
    data: bytes
    states: tuple[str, ...]
    makers: tuple[str, ...]
    key: str | None = None

    def fits(self, said: Verification) -> bool:
        """Whether an answer is right; of what is not intact nothing may be called proved."""
        is_modest = said.state == "intact" or not said.proved
        is_known = said.state in self.states and said.made_by in self.makers
        return is_known and said.key == self.key and is_modest


def main() -> None:
    """Print a line a file, then how many answers are right."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ[FOLDER] = str(folder / "mine")
        right = [_tell(case, folder / f"case{SUFFIXES[case.format]}") for case in _cases(folder)]
    print(f"{sum(right)} of {len(right)} answers are right")


def _tell(case: Case, path: Path) -> bool:
    path.write_bytes(case.data)
    said = verify(path)
    words = f"{said.state}, made by {said.made_by}, key {said.key or 'none'}"
    print(f"{case.kind:<36} {case.format:<5} {words:<50} {'' if case.fits(said) else 'WRONG'}")
    return case.fits(said)


def _cases(folder: Path) -> Iterator[Case]:
    written = {name: _ours(ICS.model_validate({"format": name})) for name in SUFFIXES}
    for name, data in written.items():
        published = ICS.model_validate({"format": name, "publish": True})
        yield Case("ours", name, data, ("intact",), ("Atelier",), "yours")
        yield Case("ours, published", name, _ours(published), ("intact",), ("Atelier",), "yours")
        yield Case("ours, a bit flipped", name, _flipped(data), ("changed", "damaged"), _ANY)
        # A TIFF's pixels come first, and the first half holds all of so small a picture's.
        cut = ("changed",) if name == "tiff" else ("damaged",)
        yield Case("ours, its second half cut off", name, data[: len(data) // 2], cut, _ANY)
    for name in ("png", "jpeg", "webp"):
        yield from _saved_again(folder, name, written[name])
    yield from _forged(folder, written["png"])
    yield from _foreign(folder)


_ANY = ("Atelier", "unknown")


def _ours(settings: ICS) -> bytes:
    return next(iter(ImageConverter().convert([make_iedt(1, SIDE)], settings))).data


def _flipped(data: bytes) -> bytes:
    """A bit of the pixels changed: they come last but in a PNG, which ends with 12 bytes more."""
    place = len(data) - 20
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _saved_again(folder: Path, name: str, data: bytes) -> Iterator[Case]:
    """Pillow keeps no metadata here; ImageMagick keeps a JPEG's, and strips if told to."""
    before, after = folder / f"before{SUFFIXES[name]}", folder / f"after{SUFFIXES[name]}"
    before.write_bytes(data)
    with Image.open(before) as image:
        Image.fromarray(np.asarray(image)).save(after)
    yield Case("saved again by Pillow", name, after.read_bytes(), ("unsigned",), ("unknown",))
    subprocess.run(["convert", before, "-strip", after], check=True)
    yield Case("stripped by ImageMagick", name, after.read_bytes(), ("unsigned",), ("unknown",))
    subprocess.run(["convert", before, "-flop", after], check=True)
    flopped = ("changed", "Atelier") if name == "jpeg" else ("unsigned", "unknown")
    yield Case("flopped by ImageMagick", name, after.read_bytes(), flopped[:1], flopped[1:])


def _forged(folder: Path, ours: bytes) -> Iterator[Case]:
    """Records, names and credentials that are not the file's own."""
    record = _ours(ICS(sign=False))
    yield Case("a record alone", "png", record, ("unsigned",), ("Atelier",))
    named = signed_by(folder / "theirs", "PNG", "Atelier", "trainedAlgorithmicMedia")
    yield Case(
        "a stranger who signs as Atelier", "png", named, ("intact",), ("Atelier",), "unknown"
    )
    start = ours.index(b"caBX") - 4
    credentials = ours[start : start + 12 + int.from_bytes(ours[start : start + 4], "big")]
    other = _plain("PNG")
    place = other.index(b"IDAT") - 4
    moved = other[:place] + credentials + other[place:]
    yield Case("our credentials in another picture", "png", moved, ("changed",), ("Atelier",))
    yield Case("bytes added at the end", "png", ours + other, ("changed",), ("Atelier",))


def _foreign(folder: Path) -> Iterator[Case]:
    other = ("another program",)
    for name in ("png", "jpeg", "tiff"):
        signed = signed_by(folder / "camera", name.upper(), "Camera", "digitalCapture")
        yield Case("another's, signed", name, signed, ("intact",), other, "unknown")
    for name in ("png", "jpeg", "tiff"):
        yield Case("another's, unsigned", name, _plain(name.upper()), ("unsigned",), ("unknown",))
    path = folder / "camera.png"
    path.write_bytes(signed_by(folder / "camera", "PNG", "Camera", "digitalCapture"))
    opened = read_picture(path)
    batch = IEDT(
        images=opened.images,
        origins=opened.origins,
        carried=opened.carried,
        enhancement=make_enhancement(1),
    )
    made = next(iter(ImageConverter().convert([batch], ICS()))).data
    yield Case("ours, of another's signed file", "png", made, ("intact",), ("Atelier",), "yours")


def signed_by(keys: Path, kind: str, program: str, source: str) -> bytes:
    """A picture that another program signed with another's key."""
    files = Files(keys)
    if not files.certificate.exists():
        make(files, "Them")
    action = {"action": "c2pa.created", "digitalSourceType": _SOURCES + source}
    manifest = {
        "claim_generator_info": [{"name": program, "version": "7"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }
    return sign(_plain(kind), f"image/{kind.lower()}", manifest, open_identity(files))


def _plain(kind: str) -> bytes:
    stream = io.BytesIO()
    levels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    Image.fromarray(levels).save(stream, kind)
    return stream.getvalue()


if __name__ == "__main__":
    main()
