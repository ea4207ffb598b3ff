"""Costs of models and enlargers: paper 003's protocol, each entry in a fresh process."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from atelier.experiments.ledger.gauges import Machine, describe_machine
from atelier.experiments.ledger.report import write_report
from atelier.experiments.ledger.rows import Ledger, LedgerRow
from atelier.experiments.ledger.worker import Assignment
from atelier.experiments.words import short
from components.common.durable import replacing, sha256_of, write_text
from components.families import FAMILIES
from interfaces.contract import explain
from interfaces.errors import RefusedError
from interfaces.experiments import BenchmarkSettings
from interfaces.ies import IES
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.places import expanded

Say = Callable[[str], None]

_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from atelier.experiments.ledger.worker import main; main()"
)


@dataclass(frozen=True)
class Makers:
    """Factories of the components that are measured; a replaced one is measured like our own."""

    workspace: Path
    """Workspace that a factory is given."""
    generation: str
    """'package:factory' of an `ImageGenerator`."""
    enhancement: str
    """'package:factory' of an `Enhancer`."""


@dataclass(frozen=True)
class _Entry:
    """One row to be measured: what it is, and the assignment of its process."""

    name: str
    family: str | None
    digest: str | None
    asked: str
    assignment: Assignment
    model: IGME | None


def benchmark(
    models: Mapping[str, IGME],
    enlargers: Sequence[str],
    settings: BenchmarkSettings,
    folder: Path,
    makers: Makers,
    samples: Sequence[np.ndarray],
    say: Say,
    *,
    again: bool = False,
) -> tuple[LedgerRow, ...]:
    """Measure each model and enlarger in turn, and write the ledger into `folder`.

    An enlarger is a name or a weights file. `samples` are pictures uint8 (H, W, 3) of the
    project's own, for what needs a picture and no source was chosen. A VAE has a second row:
    encoding and decoding the first picture that it made. The report is written again after each
    row; rows that were measured before, of the same model, settings and machine, are kept unless
    `again`. An entry that fails is a row that says why.
    """
    from components.common.devices import pick_device

    if not models and not enlargers:
        raise RefusedError("benchmark: nothing to measure; name a model or an --enlarger")
    device = pick_device(settings.device).type
    machine = describe_machine(device)
    given = _given(settings, samples, folder)
    entries = _entries(models, enlargers, settings, folder, makers, given, device)
    waiting = len(models) + len(enlargers) + sum(m.family == "vae" for m in models.values())
    rows: list[LedgerRow] = []
    for entry in entries:
        rows.append(_row(entry, machine, folder, again, say))
        waiting -= 1
        write_report(Ledger(tuple(rows), machine, waiting), folder)
    return tuple(rows)


def _given(
    settings: BenchmarkSettings, samples: Sequence[np.ndarray], folder: Path
) -> tuple[Path, ...]:
    """Files of the pictures that are given: the person's own, else the project's samples."""
    from PIL import Image

    if settings.source is not None:
        return (expanded(settings.source).absolute(),)
    paths = [folder / "samples" / f"{number}.png" for number in range(len(samples))]
    for path, pixels in zip(paths, samples, strict=True):
        with replacing(path) as temporary:
            Image.fromarray(pixels).save(temporary)
    return tuple(path.absolute() for path in paths)


# ---------------------------------------------------------------- what is measured


def _entries(
    models: Mapping[str, IGME],
    enlargers: Sequence[str],
    settings: BenchmarkSettings,
    folder: Path,
    makers: Makers,
    given: Sequence[Path],
    device: str,
) -> Iterator[_Entry]:
    """Entries to measure, lazily: the entry before a VAE's makes the pictures that it encodes."""
    common: dict[str, Any] = {
        "workspace": makers.workspace,
        "device": device,
        **settings.model_dump(include={"images", "max_batch", "batch_seconds", "enlarged_side"}),
    }
    for name, model in models.items():
        request, asked = _request(model, settings, given, device)
        shared = common | {"factory": makers.generation, "model": model.directory.absolute()}
        pictures = folder / "pictures" / f"{_slug(name)}-{model.digest[:8]}"
        yield from _of_a_model(name, model, request, asked, shared, pictures)
    for text in enlargers:
        request, name, digest = _enlarger(text, device)
        asked = f"{settings.enlarged_side}×{settings.enlarged_side} pixels, ×{request.scale}"
        assignment = Assignment(
            task="enlarge",
            factory=makers.enhancement,
            pictures=folder / "pictures" / _slug(f"{name}-{(digest or '')[:8]}"),
            enhance=request,
            samples=tuple(given),
            **common,
        )
        yield _Entry(name, None, digest, asked, assignment, None)


def _of_a_model(
    name: str, model: IGME, request: IGS, asked: str, shared: dict[str, Any], pictures: Path
) -> Iterator[_Entry]:
    """Making pictures; of a VAE encoding and decoding one as well."""
    # Of one source, a batch would be computed once: that is no speed of making many.
    alone: dict[str, Any] = shared | {"max_batch": 1}
    chosen = shared if request.source is None else alone
    assignment = Assignment(task="generate", pictures=pictures, generate=request, **chosen)
    yield _Entry(name, model.family, model.digest, asked, assignment, model)
    if model.family == "vae":
        request = request.model_copy(update={"source": (pictures / "1.png").absolute()})
        assignment = Assignment(
            task="encode and decode", pictures=pictures / "decoded", generate=request, **alone
        )
        title, asked = f"{name}: encode + decode", "the first picture that it made"
        yield _Entry(title, model.family, model.digest, asked, assignment, model)


def _request(
    model: IGME, settings: BenchmarkSettings, given: Sequence[Path], device: str
) -> tuple[IGS, str]:
    """Request to a model, and the same in words: seeds, and what its family cannot do without.

    A family that takes a prompt is given one, since that is what it is for.
    """
    family = FAMILIES.get(model.family)
    changes: dict[str, Any] = {}
    asked: list[str] = []
    if family is not None and "prompt" in family.takes:
        changes["prompt"] = settings.prompt
        asked.append(f"the prompt “{settings.prompt}”")
    if family is not None and "source" in family.needs and given:
        changes["source"] = given[0]
        asked.append(f"a source ({given[0].name})")
    request = IGS.model_validate(
        {"seed": settings.seed, "device": device, "originality": False, **changes}
    )
    return request, " and ".join(asked)


def _enlarger(text: str, device: str) -> tuple[IES, str, str | None]:
    """A name or a weights file => settings, what to call it, and the file's digest."""
    path = expanded(Path(text))
    fields: dict[str, Any] = {"device": device}
    if path.is_file():
        chosen = IES.model_validate(fields | {"weights": path.absolute()})
        return chosen, path.stem, sha256_of(path)
    try:
        return IES.model_validate(fields | {"enhancer": text}), text, None
    except ValidationError as error:
        raise RefusedError(explain(error, "enlarger")) from error


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[-60:] or "entry"


# ---------------------------------------------------------------- one row


def _row(entry: _Entry, machine: Machine, folder: Path, again: bool, say: Say) -> LedgerRow:
    """The row as it was measured before, else as it is measured now."""
    fingerprint = _fingerprint(entry, machine)
    path = folder / "rows" / f"{fingerprint[:16]}.json"
    row = None if again else _kept(path)
    last = entry.assignment.pictures / f"{entry.assignment.images}.png"
    if row is not None and row.fingerprint == fingerprint and last.exists():
        row = row.model_copy(update={"name": entry.name})
        say(f"{entry.name}: kept as it was measured before; --again measures again")
        return row
    identity = {
        "name": entry.name,
        "task": entry.assignment.task,
        "family": entry.family,
        "digest": entry.digest,
        "asked": entry.asked,
        "device": entry.assignment.device,
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "fingerprint": fingerprint,
        "measurements": entry.model.measurements if entry.model else (),
        "precision": _precision(entry),
    }
    log = folder / "logs" / f"{_slug(entry.name)}.log"
    row = LedgerRow.model_validate(identity | _measured(entry, log, say))
    say(f"{entry.name}: {_summary(row)}")
    if row.failure is None:
        write_text(path, row.model_dump_json(indent=2) + "\n")
    return row


def _fingerprint(entry: _Entry, machine: Machine) -> str:
    """Digest over what the figures depend on; a folder that was moved has the same."""
    assignment = entry.assignment
    files = [
        path
        for path in (*assignment.samples, assignment.generate and assignment.generate.source)
        if path
    ]
    places = {"workspace", "pictures", "model", "samples", "generate", "enhance"}
    identity = [
        entry.digest or entry.name,
        assignment.model_dump(mode="json", exclude=places),
        assignment.generate and assignment.generate.model_dump(mode="json", exclude={"source"}),
        assignment.enhance and assignment.enhance.model_dump(mode="json", exclude={"weights"}),
        [sha256_of(path) if path.is_file() else path.name for path in files],
        machine.model_dump(mode="json"),
        os.environ.get("OMP_NUM_THREADS"),
    ]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _kept(path: Path) -> LedgerRow | None:
    try:
        return LedgerRow.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None  # never measured, or by another version


def _precision(entry: _Entry) -> str | None:
    """Precision of a model's network; None for an enlarger, which tells its own."""
    if entry.model is None:
        return None
    dtype = entry.model.config.get("dtype", "float32")
    if dtype != "auto":
        return str(dtype)
    return "float32" if entry.assignment.device == "cpu" else "float16"  # as the adapter chooses


def _measured(entry: _Entry, log: Path, say: Say) -> dict[str, Any]:
    """Fields of the row, from a process of its own; each picture is reported as it is made."""
    fields: dict[str, Any] = {}
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {"OMP_WAIT_POLICY": "passive", **os.environ}
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", _START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
        )
        try:
            _listen(process, entry, fields, say)
        finally:
            process.kill()  # nothing is left to do for it; at Ctrl-C it ends with us
            process.wait()
    if "failure" not in fields and "batches" not in fields:
        fields["failure"] = _end_of(process.returncode)
    return fields


def _listen(
    process: "subprocess.Popen[bytes]", entry: _Entry, fields: dict[str, Any], say: Say
) -> None:
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(entry.assignment.model_dump_json().encode())
        process.stdin.close()
    except BrokenPipeError:
        pass  # it ended at once; its status says so
    for line in process.stdout:
        told: dict[str, Any] = json.loads(line)
        fields |= told
        if "seconds" in told:
            say(_picture_line(entry, fields))
    process.wait()


def _picture_line(entry: _Entry, fields: Mapping[str, Any]) -> str:
    seconds = fields["seconds"]
    memory = [
        f"{word} {short(fields[key])} MB"
        for key, word in (("vram_reserved_mb", "VRAM"), ("ram_total_mb", "RAM"))
        if fields.get(key) is not None
    ]
    place = f"{len(seconds)} of {entry.assignment.images}"
    return ", ".join([f"{entry.name}, {place}: {short(seconds[-1])} s", *memory])


def _summary(row: LedgerRow) -> str:
    if row.failure is not None:
        return f"failed: {row.failure}"
    size, rate = row.best_batch or (1, 0.0)
    spread = f"{short(row.mean_seconds)} s ± {short(row.deviation_seconds)}"
    return f"{spread} a picture, {short(rate)} images/s in batches of {size} ({row.batches_ended})"


def _end_of(status: int) -> str:
    """Reason why a process ended without an answer, from its exit status."""
    if status >= 0:
        return f"its process ended with exit status {status}"
    name = signal.Signals(-status).name
    hint = "; most likely the memory did not suffice" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{hint}"
