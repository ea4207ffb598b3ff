"""A folder in which 10 of 100 pictures forbid training: what `inspect`, `run` and the card say.

    python -m benchmarks.reservations

It needs ExifTool, which writes the reservations as other programs do.
"""

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import pipeline
from atelier.contracts.samples import make_iedt
from components.common.credentials.places import FOLDER
from components.conversion import ImageConverter
from interfaces.ics import ICS

_PLUS = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/" '
    'plus:DataMining="http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED-AIMLTRAINING"/>'
    "</rdf:RDF></x:xmpmeta>"
)
_KEYWORDS = ("-XMP-dc:Subject=noai", "-XPKeywords=noimageai;sea")
_TINY = (
    *("--family", "dcgan", "--resolution", "16", "--total-images", "320", "--measure-count", "64"),
    *("--generator-channels", "8", "--discriminator-channels", "8", "--count", "4"),
    "--enhancer=lanczos",
)


def main() -> None:
    """Print what the three say, once with the pictures left out and once with them taken."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ[FOLDER] = str(folder / "mine")
        _paint(folder / "pictures")
        data = str(folder / "pictures")
        _run("inspect", "--data", data, "--workspace", str(folder / "workspace"))
        for decision in ("leave out", "take"):
            place = folder / decision
            chosen = ("--collect.reserved", decision, "--workspace", str(place))
            _run("run", "--data", data, *_TINY, *chosen)
            (card,) = place.glob("runs/*/training/model/README.md")
            text = card.read_text(encoding="utf-8")
            print(text.partition("## Rights of")[2].partition("##")[0], flush=True)


def _run(*command: str) -> None:
    """Carry a command out as the command line does; it prints what a person sees."""
    print(f"$ pipeline.py {command[0]}", flush=True)
    if code := pipeline.main(command):
        raise SystemExit(f"{command[0]}: exit code {code}")


def _paint(folder: Path) -> None:
    """90 pictures without a word; 3 with PLUS, 3 of each keyword, one with credentials."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(99):
        picture = Image.fromarray(draw.integers(0, 256, (4, 4, 3), np.uint8)).resize((32, 32))
        words = {"xmp": _PLUS.encode()} if number < 3 else {}
        picture.save(folder / f"{number:03d}.jpg", **words)
    for place, words in enumerate(_KEYWORDS, start=1):
        paths = [folder / f"{number:03d}.jpg" for number in range(3 * place, 3 * place + 3)]
        subprocess.run(["exiftool", "-q", "-overwrite_original", words, *paths], check=True)
    (signed,) = ImageConverter().convert([make_iedt(1, 32)], ICS(forbid_training=True))
    (folder / "099.png").write_bytes(signed.data)


if __name__ == "__main__":
    main()
