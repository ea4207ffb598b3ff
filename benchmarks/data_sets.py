"""Collections in every form and size: the same digest, and memory that does not grow with them.

`python -m benchmarks.data_sets forms 600` makes one collection as a folder, in S3 (moto, on this
machine), as a folder of the Hub behind a URL, as six WebDataset shards and as arrow.
`python -m benchmarks.data_sets memory 10000 100000` inspects generated pictures of 16×16, each
form in a process of its own, and prints its peak.
"""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PIL import Image

from components.training_store import create
from interfaces.itdt import CollectionSettings
from interfaces.progress import silent
from tests.s3 import s3_bucket

_STYLES = ("julia", "night sky", "waves")


def main(what: str, *numbers: str) -> None:
    """Measure `forms NUMBER`, or `memory NUMBER…`."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ATELIER_CACHE"] = f"{folder}/cache"
        for number in map(int, numbers):
            (_forms if what == "forms" else _memory)(Path(folder, str(number)), number)


def _forms(root: Path, number: int) -> None:
    _write_folder(root / "folder", number)
    _write_shards(root / "shards", number)
    _write_arrow(root / "arrow", number)
    _write_parquet(root / "hub", number)
    with s3_bucket("benchmark"):
        import fsspec

        fsspec.filesystem("s3").put(f"{root}/folder/", "benchmark/folder/", recursive=True)
        fsspec.filesystem("memory").put(f"{root}/hub/", "/hub/", recursive=True)
        places = {
            "folder": f"{root}/folder",
            "S3": "s3://benchmark/folder",
            "Hub-like, by URL": "memory://hub",
            "six shards": f"{root}/shards/set-{{000..005}}.tar",
            "arrow": f"{root}/arrow",
        }
        for name, data in places.items():
            began = time.perf_counter()
            store = create(root / f"workspace-{name}")
            collection = store.collect(CollectionSettings(data=data), silent)
            seconds = time.perf_counter() - began
            print(f"{name:<18} {collection.digest} {collection.num_images} in {seconds:.1f} s")


def _memory(root: Path, number: int) -> None:
    _write_folder(root / "folder", number)
    _write_shards(root / "shards", number)
    for name in ("folder", "shards"):
        began = time.perf_counter()
        command = [
            sys.executable,
            "-m",
            __spec__.name,
            "inspect",
            f"{root}/{name}",
            f"{root}/ws-{name}",
        ]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        print(f"{name:<8} {number:>8}: {said}, {time.perf_counter() - began:.0f} s", flush=True)


def _inspect(data: str, workspace: str) -> None:
    """Inspect a data set once; print the process's peak before and after it."""
    before = _peak_mebibytes()
    collection = create(Path(workspace)).collect(CollectionSettings(data=data), silent)
    print(f"{collection.num_images} images, peak {_peak_mebibytes():.0f} MiB, {before:.0f} before")


def _peak_mebibytes() -> float:
    """Most memory so far of this program alone; getrusage counts who started it as well."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _pictures(number: int) -> Iterator[tuple[str, str, bytes]]:
    """(style, name, PNG of 16×16) of random pictures, ten thousand of them different."""
    encoded: list[bytes] = []
    rng = np.random.default_rng(0)
    for place in range(number):
        if place < 10_000:
            buffer = io.BytesIO()
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
            encoded.append(buffer.getvalue())
        yield _STYLES[place % 3], f"{place:07d}.png", encoded[place % 10_000]


def _write_folder(root: Path, number: int) -> None:
    for style in _STYLES:
        (root / style).mkdir(parents=True)
    for style, name, data in _pictures(number):
        (root / style / name).write_bytes(data)


def _write_shards(root: Path, number: int) -> None:
    root.mkdir()
    with ExitStack() as files:
        shards = [
            files.enter_context(tarfile.open(root / f"set-{place:03d}.tar", "w"))
            for place in range(6)
        ]
        for place, (style, name, data) in enumerate(_pictures(number)):
            for file, content in ((name, data), (name.replace(".png", ".cls"), style.encode())):
                member = tarfile.TarInfo(file)
                member.size = len(content)
                shards[place % 6].addfile(member, io.BytesIO(content))


def _data_set(number: int) -> "object":
    import datasets

    rows = list(_pictures(number))
    features = datasets.Features(
        {
            "image": datasets.Image(decode=False),
            "label": datasets.ClassLabel(names=list(_STYLES)),
        }
    )
    columns = {
        "image": [{"bytes": data, "path": name} for _, name, data in rows],
        "label": [_STYLES.index(style) for style, _, _ in rows],
    }
    return datasets.Dataset.from_dict(columns, features=features)


def _write_arrow(root: Path, number: int) -> None:
    _data_set(number).save_to_disk(root, num_shards=2)


def _write_parquet(root: Path, number: int) -> None:
    for place in range(2):
        path = root / "data" / f"train-{place:05d}-of-00002.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        _data_set(number).shard(2, place).to_parquet(path)


if __name__ == "__main__":
    if sys.argv[1] == "inspect":
        _inspect(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
