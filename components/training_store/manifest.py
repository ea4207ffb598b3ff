"""The manifest of a collection: a journal while it is inspected, then the files of the ITDT."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np

from components.common.durable import replacing, write_text
from components.training_store.hashing import near_pairs
from components.training_store.inspection import Finding
from interfaces.errors import AtelierError, RefusedError
from interfaces.itdt import ITDT, Duplicate, QuarantinedFile, Rights, TrainingImage

_MESSAGE = "itdt.json"
_JOURNAL = "journal.jsonl"


class Journal:
    """Journal of the findings about candidates so far, one a line; survives being killed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / _JOURNAL
        self._path.touch()
        self._count = self._drop_torn_end()

    def __len__(self) -> int:
        return self._count

    def append(self, findings: Iterable[str]) -> None:
        """Add findings as JSON, in one write that reaches the system at once."""
        lines = [f"{finding}\n" for finding in findings]
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write("".join(lines))
        self._count += len(lines)

    def findings(self) -> Iterator[Finding]:
        """All findings, one at a time."""
        with self._path.open(encoding="utf-8") as lines:
            for line in lines:
                yield Finding.model_validate_json(line)

    def quarantined(self) -> Iterator[QuarantinedFile]:
        """The files put aside so far, one at a time."""
        return (file for found in self.findings() if (file := found.quarantined) is not None)

    def remove(self) -> None:
        """Forget it all, once the manifest has taken its place."""
        self._path.unlink()

    def _drop_torn_end(self) -> int:
        """Cut the file after its last whole line; how many lines are left."""
        count = end = 0
        with self._path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n") or not _is_finding(line):
                    break
                count, end = count + 1, end + len(line)
        os.truncate(self._path, end)
        return count


def _is_finding(line: bytes) -> bool:
    try:
        Finding.model_validate_json(line)
    except ValueError:
        return False
    return True


def write_manifest(folder: Path, journal: Journal, name: str, source: str) -> ITDT:
    """The journal => images.jsonl, quarantined.jsonl, duplicates.jsonl and the message, last.

    Raises `AtelierError` where there is not one good image.
    """
    with ExitStack() as files:
        images = open_new(files, folder / "images.jsonl")
        quarantined = open_new(files, folder / "quarantined.jsonl")
        tally = Tally()
        for finding in journal.findings():
            if finding.image is not None:
                images.write(finding.image.model_dump_json() + "\n")
                tally.add(finding.image, finding.perceptual_hash)
            elif finding.quarantined is not None:
                quarantined.write(finding.quarantined.model_dump_json() + "\n")
                tally.put_aside(finding.quarantined)
        if tally.num_images == 0:
            raise RefusedError(f"{source}: not one usable image; {tally.faults()}")
    num_exact, num_near = _write_duplicates(folder, tally)
    itdt = ITDT(
        name=name,
        source=source,
        manifest=folder,
        num_images=tally.num_images,
        images_per_style=dict(sorted(tally.per_style.items())),
        num_quarantined=tally.num_quarantined,
        num_exact_duplicates=num_exact,
        num_near_duplicates=num_near,
        digest=tally.digest(),
        rights=tally.rights(),
    )
    return write_message(folder, itdt)


def write_message(folder: Path, itdt: ITDT) -> ITDT:
    """Write the message of a manifest, after which it is whole."""
    write_text(folder / _MESSAGE, itdt.to_json())
    return itdt


def find_manifest(folder: Path) -> ITDT | None:
    """The message of a finished manifest whose lines still give its digest, else None."""
    try:
        itdt = ITDT.from_json((folder / _MESSAGE).read_bytes())
        itdt = itdt.model_copy(update={"manifest": folder})
        tally = Tally()
        for image in itdt.images():
            tally.add(image, None)
        num_quarantined = sum(1 for _ in itdt.quarantined())
        num_duplicates = sum(1 for _ in itdt.duplicates())
    except (OSError, AtelierError):
        return None
    is_whole = (
        tally.digest() == itdt.digest
        and num_quarantined == itdt.num_quarantined
        and num_duplicates == itdt.num_exact_duplicates + itdt.num_near_duplicates
    )
    return itdt if is_whole else None


class Tally:
    """Totals over all images, for the message; 41 bytes an image, for finding duplicates."""

    def __init__(self) -> None:
        self.per_style: dict[str, int] = {}
        self.num_quarantined = 0
        self._num_taken = 0  # images that say not to train on them
        self._reasons: dict[str, int] = {}
        self._first_fault = ""
        self._running = hashlib.sha256()
        self._digests = bytearray()  # 32 bytes an image
        self._hashes = bytearray()  # 8 bytes an image
        self._has_hash = bytearray()  # 1 byte an image

    @property
    def num_images(self) -> int:
        """Good images so far."""
        return len(self._has_hash)

    def add(self, image: TrainingImage, perceptual_hash: int | None) -> None:
        """Count a good image."""
        self.per_style[image.style] = self.per_style.get(image.style, 0) + 1
        self._num_taken += image.reservation is not None
        # JSON keeps the three apart, whatever stands in a name.
        crop = [] if image.crop is None else [image.crop]
        line = json.dumps([image.name, image.style, image.sha256, *crop]) + "\n"
        self._running.update(line.encode())
        self._digests += bytes.fromhex(image.sha256)
        self._hashes += (perceptual_hash or 0).to_bytes(8, "little")
        self._has_hash.append(perceptual_hash is not None)

    def put_aside(self, file: QuarantinedFile) -> None:
        """Count a file that is not used."""
        reason = file.reason
        self.num_quarantined += 1
        self._first_fault = self._first_fault or f"{file.name} ({reason}: {file.detail})"
        self._reasons[reason] = self._reasons.get(reason, 0) + 1

    def digest(self) -> str:
        """Digest over all images so far."""
        return self._running.hexdigest()

    def rights(self) -> Rights | None:
        """Number of pictures that reserve their rights, and the decision; None where none do."""
        if self._num_taken:
            return Rights(num_reserved=self._num_taken, decision="taken")
        num_left_out = self._reasons.get("reserved", 0)
        return Rights(num_reserved=num_left_out, decision="left out") if num_left_out else None

    def faults(self) -> str:
        """Description of the files put aside, in words."""
        counts = ", ".join(f"{count} {reason}" for reason, count in self._reasons.items())
        return f"put aside: {counts}; the first: {self._first_fault}"

    def duplicates(self) -> Iterator[tuple[int, int, int | None]]:
        """(later place, earlier place, distance), the distance None for the same bytes."""
        digests = np.frombuffer(self._digests, dtype="V32")
        _, firsts, inverse = np.unique(digests, return_index=True, return_inverse=True)
        first_of = firsts[inverse]
        places = np.arange(self.num_images)
        is_first = first_of == places
        hashed = places[is_first & np.frombuffer(self._has_hash, dtype=np.bool_)]
        near = near_pairs(np.frombuffer(self._hashes, dtype="<u8")[hashed])
        found = {int(place): (int(first_of[place]), None) for place in places[~is_first]}
        found |= {
            int(hashed[later]): (int(hashed[earlier]), distance)
            for later, (earlier, distance) in near.items()
        }
        for later in sorted(found):
            earlier, distance = found[later]
            yield later, earlier, distance


def _write_duplicates(folder: Path, tally: Tally) -> tuple[int, int]:
    """Write duplicates.jsonl; how many are exact and how many near."""
    pairs = list(tally.duplicates())
    wanted = {place for later, earlier, _ in pairs for place in (later, earlier)}
    names: dict[int, str] = {}
    with (folder / "images.jsonl").open(encoding="utf-8") as lines:
        for place, line in enumerate(lines):
            if place in wanted:
                names[place] = TrainingImage.model_validate_json(line).name
    with ExitStack() as files:
        stream = open_new(files, folder / "duplicates.jsonl")
        for later, earlier, distance in pairs:
            duplicate = Duplicate(
                name=names[later],
                of=names[earlier],
                kind="exact" if distance is None else "near",
                distance=distance or 0,
            )
            stream.write(duplicate.model_dump_json() + "\n")
    num_exact = sum(1 for *_, distance in pairs if distance is None)
    return num_exact, len(pairs) - num_exact


def open_new(files: ExitStack, path: Path) -> IO[str]:
    """Open a file that takes its name when the stack closes well."""
    temporary = files.enter_context(replacing(path))
    return files.enter_context(temporary.open("w", encoding="utf-8"))
