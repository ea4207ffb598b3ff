"""Each format by each way to a file, as a stranger's tools read it.

    python -m benchmarks.ways_out PYTHON

PYTHON is an interpreter that has c2pa-python and nothing of Atelier's; ExifTool must be there too.
A line a file: the state that c2pa's reader gives, the actions, the ingredients (those with
credentials of their own marked *), IPTC's source type and AI system by ExifTool, and the state once
a bit of the file is changed.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from atelier.assembly import assemble
from atelier.desk import Desk
from atelier.gallery import archive
from atelier.own_files import Requests, Rework
from atelier.workspace import Workspace
from benchmarks.verification import SUFFIXES, signed_by
from components.common.credentials.places import FOLDER
from components.common.shipped import find_shipped
from components.conversion import public_copy, read_picture
from interfaces.components import Components
from interfaces.ics import ICS
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.iodt import IODT, StoredResult

_READER = """
import c2pa, io, json, sys
kinds = {".jpg": "jpeg", ".tif": "tiff"}
def read(path, flip):
    data = bytearray(open(path, "rb").read())
    if flip:
        data[int(flip)] ^= 1
    suffix = path[path.rindex("."):]
    kind = "image/" + kinds.get(suffix, suffix[1:])
    try:
        said = json.loads(c2pa.Reader(kind, io.BytesIO(bytes(data))).json())
    except Exception as error:
        return {"state": "refused (" + type(error).__name__ + ")"}
    active = said["manifests"][said["active_manifest"]]
    actions = [a for one in active["assertions"] if one["label"].startswith("c2pa.actions")
               for a in one["data"]["actions"]]
    return {"state": said["validation_state"], "actions": [a["action"] for a in actions],
            "ingredients": [i["relationship"] + ("*" if i.get("active_manifest") else "")
                            for i in active.get("ingredients", [])]}
print(json.dumps([read(*line.split("\\t")) for line in sys.stdin.read().splitlines()]))
"""


class Word(BaseModel):
    """Answer of c2pa's reader about a file."""

    state: str
    actions: tuple[str, ...] = ()
    ingredients: tuple[str, ...] = ()


def main() -> None:
    """Write every file, have it read, and print a line for each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ[FOLDER] = str(folder / "mine")
        files = dict(_written(folder))
        words = _strangers_words(sys.argv[1], list(files.values()))
        for (way, path), whole, flipped in zip(files.items(), words[::2], words[1::2], strict=True):
            made_from = ", ".join(whole.ingredients) or "nothing"
            said = f"{whole.state}; {', '.join(whole.actions)}; from {made_from}; {_fields(path)}"
            print(f"{way:<28} {said}; a bit changed: {flipped.state}")


def _strangers_words(python: str, paths: list[Path]) -> list[Word]:
    """Two answers about each file: as it is, and with a bit of its pixels changed."""
    lines = "".join(f"{path}\t\n{path}\t{_among_pixels(path)}\n" for path in paths)
    command = [python, "-I", "-c", _READER]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    return TypeAdapter(list[Word]).validate_json(done.stdout)


def _among_pixels(path: Path) -> int:
    """The place of a byte that belongs to the pixels and not to the credentials."""
    share = 0.25 if path.suffix in (".webp", ".tif") else 0.75  # where credentials come last
    return int(share * path.stat().st_size)


def _fields(path: Path) -> str:
    command = ["exiftool", "-j", "-n", "-XMP:all", path]
    (said,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    kind = str(said.get("DigitalSourceType", "none")).rpartition("/")[2]
    return f"{kind}, {said.get('AISystemUsed', 'no AI system')}"


def _written(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every way out in every format."""
    workspace = Workspace(folder / "workspace")
    desk = Desk(workspace, {})
    parts = assemble(workspace.root)
    made = next(iter(parts.generation.generate(_model("shipped"), IGS(seeds=(1,)))))
    own = folder / "own.png"
    own.write_bytes(signed_by(folder / "camera", "PNG", "Camera", "digitalCapture"))
    taken = read_picture(own)
    painted = _reworked(parts, workspace, own)
    for name, suffix in SUFFIXES.items():
        ways: dict[str, IGDT] = {"generate": made, "convert": taken, "rework": painted}
        for way, batch in ways.items():
            yield f"{way} {name}", _kept(folder, way, _encoded(parts, batch, name), suffix)
        enlarged = _encoded(parts, taken, name, scale=4)
        yield f"enhance {name}", _kept(folder, "enhance", enlarged, suffix)
        result = parts.results_store.keep(_encoded(parts, made, name), "")
        copied = desk.convert(result, ICS.model_validate({"format": name}))
        yield f"page, as {name}", _kept(folder, "page", copied.data, suffix)
        bare = public_copy(result.path.read_bytes(), result.record, name)
        yield f"page, without record, {name}", _kept(folder, "bare", bare, suffix)
        yield f"zip {name}", _kept(folder, "zip", _unpacked(result), suffix)


def _model(name: str) -> IGME:
    return IGME.open(find_shipped(Path(name)))


def _reworked(parts: Components, workspace: Workspace, own: Path) -> IGDT:
    settings = IGS.model_validate({"source": own, "options": {"steps": 2, "source_strength": 0.4}})
    requests = Requests(workspace.requests)
    model = _model("shipped-sketch")
    work = Rework(parts.generation, model, settings, read_picture, parts.ui.watch, requests)
    return work.read(own)


def _encoded(parts: Components, batch: IGDT, name: str, scale: int = 1) -> IODT:
    enhance = IES.model_validate(
        {"scale": scale, "enhancer": "embedded"} if scale > 1 else {"scale": 1}
    )
    enlarged = parts.enhancement.enhance([batch], enhance)
    return next(iter(parts.conversion.convert(enlarged, ICS.model_validate({"format": name}))))


def _kept(folder: Path, way: str, image: IODT | bytes, suffix: str) -> Path:
    path = folder / f"{way}{suffix}"
    path.write_bytes(image.data if isinstance(image, IODT) else image)
    return path


def _unpacked(result: StoredResult) -> bytes:
    packed = b"".join(archive([result], lambda one: one.path.read_bytes()))
    with zipfile.ZipFile(io.BytesIO(packed)) as opened:
        return opened.read(opened.namelist()[0])


if __name__ == "__main__":
    main()
