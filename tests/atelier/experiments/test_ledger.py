"""The ledger of cost: known memory and known time are found again, in processes of their own.

What is measured are fakes of this file that a worker imports by name, as it imports replacements.
"""

import csv
import ctypes
import json
import os
import signal
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from atelier.experiments.ledger.advice import advice, control_table, controls
from atelier.experiments.ledger.gauges import NVML, RAPL, EnergyMeter, Machine
from atelier.experiments.ledger.measuring import Makers, benchmark
from atelier.experiments.ledger.report import write_report
from atelier.experiments.ledger.rows import Ledger, LedgerRow
from atelier.experiments.ledger.worker import reason_of
from components.families import FAMILIES
from interfaces.errors import AtelierError
from interfaces.experiments import BenchmarkSettings
from interfaces.iedt import IEDT
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.measurement import Measurement
from interfaces.progress import Progress, silent
from interfaces.record import EnhancementRecord
from tests.helpers import digest, make_origin

HERE = "tests.atelier.experiments.test_ledger"
MIB = 2**20
QUICK = BenchmarkSettings(images=3, max_batch=1, device="cpu")

# ---------------------------------------------------------------- what is measured


class FakeGenerator:
    """Takes the memory and the time that a model's config names."""

    def generate(self, model: IGME, settings: IGS, progress: Progress = silent) -> Iterator[IGDT]:
        wanted = model.config
        time.sleep(wanted.get("loading", 0.0))
        ballast = np.ones(wanted.get("megabytes", 0) * MIB, dtype=np.uint8)
        return self._batches(wanted, settings, ballast)

    def _batches(
        self, wanted: dict[str, Any], settings: IGS, ballast: np.ndarray
    ) -> Iterator[IGDT]:
        size = settings.batch_size or 1
        for start in range(0, settings.count, size):
            if start == 2 and wanted.get("dies"):
                os.kill(os.getpid(), signal.SIGKILL)
            if size >= wanted.get("breaks at", 10**6):
                raise AtelierError("too large\nfor this one")
            time.sleep(wanted.get("fixed", 0.0) + size * wanted.get("each", 0.0))
            level = 0.0 if settings.source is None else _mean_of(settings.source)
            images = np.full((size, 3, 8, 8), level, dtype=np.float32)
            origins = tuple(make_origin(start + n, start + n) for n in range(size))
            yield IGDT(images=images, origins=origins)
        assert ballast[0] == 1


def _mean_of(path: Path) -> float:
    with Image.open(path) as image:
        return float(np.asarray(image).mean()) / 255


class FakeEnhancer:
    """Each pixel sixteen times."""

    def enhance(
        self, batches: Iterable[IGDT], settings: IES, progress: Progress = silent
    ) -> Iterator[IEDT]:
        record = EnhancementRecord(
            enhancer=settings.enhancer,
            weights_sha256=None,
            scale=4,
            strength=1.0,
            route="float32",
        )
        for batch in batches:
            images = batch.images.repeat(4, axis=2).repeat(4, axis=3)
            yield IEDT(images=images, origins=batch.origins, enhancement=record)


def make_generator(workspace: Path) -> FakeGenerator:
    return FakeGenerator()


def make_enhancer(workspace: Path) -> FakeEnhancer:
    return FakeEnhancer()


def make_model(folder: Path, family: str = "dcgan", **config: Any) -> IGME:
    model = IGME(
        directory=folder,
        family=family,
        config=config,
        weights_sha256=digest(str(config)),
        resolution=8,
        styles=("one",),
        dataset_name="fake",
        dataset_digest=None,
        images_seen=0,
    )
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(model.manifest())
    return model


SAMPLES = [np.full((12, 12, 3), level, dtype=np.uint8) for level in (0, 255)]


class Bench:
    """Bench that measures one ledger after another in the same folder and keeps what was said."""

    def __init__(self, folder: Path, generation: str = f"{HERE}:make_generator") -> None:
        self.folder = folder
        self.generation = generation
        self.said: list[str] = []

    def run(
        self,
        models: dict[str, IGME],
        enlargers: Iterable[str] = (),
        settings: BenchmarkSettings = QUICK,
        **more: Any,
    ) -> list[LedgerRow]:
        makers = Makers(self.folder, self.generation, f"{HERE}:make_enhancer")
        self.said.clear()
        arguments = (models, list(enlargers), settings, self.folder / "out", makers, SAMPLES)
        return list(benchmark(*arguments, self.said.append, **more))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def rows(bench: Bench) -> dict[str, LedgerRow]:
    """Measured once, looked at by many tests."""
    folder = bench.folder
    chosen = QUICK.model_copy(update={"max_batch": 4})
    models = {
        "small": make_model(folder / "small", loading=0.3, fixed=0.1, each=0.001),
        "large": make_model(folder / "large", "vae", megabytes=300, **{"breaks at": 2}),
        "dying": make_model(folder / "dying", dies=True),
    }
    found = bench.run(models, ["plain"], chosen)
    return {row.name: row for row in found}


@pytest.mark.slow
def test_known_seconds_are_found(rows: dict[str, LedgerRow]) -> None:
    small = rows["small"]
    assert small.loading_seconds is not None
    assert small.loading_seconds >= 0.3
    assert len(small.seconds) == 3
    assert all(second >= 0.1 for second in small.seconds)
    assert min(small.seconds) < 0.1 + 0.3  # loading stands in none of them


@pytest.mark.slow
def test_known_memory_is_found(rows: dict[str, LedgerRow]) -> None:
    small, large = rows["small"], rows["large"]
    assert small.ram_above_mb is not None
    assert large.ram_above_mb is not None
    assert large.ram_total_mb is not None
    assert large.ram_before_mb is not None
    assert large.ram_above_mb - small.ram_above_mb == pytest.approx(300, abs=30)
    # The total is a peak from the start on, so it is at least the level then and what came to it.
    assert large.ram_total_mb == pytest.approx(large.ram_before_mb + large.ram_above_mb)
    assert small.vram_reserved_mb is None  # on a CPU there is none


@pytest.mark.slow
def test_each_entry_has_a_process_of_its_own(rows: dict[str, LedgerRow]) -> None:
    pids = [row.pid for row in rows.values()]
    assert None not in pids
    assert len({*pids, os.getpid()}) == len(rows) + 1
    # The memory of one is not the next one's: what "large" took, the VAE's next row did not have.
    after = rows["plain"].ram_above_mb
    assert after is not None
    assert after < 200


@pytest.mark.slow
def test_the_best_batch_is_found_by_doubling(rows: dict[str, LedgerRow]) -> None:
    small = rows["small"]
    assert [size for size, _ in small.batches] == [1, 2, 4]
    assert small.batches_ended == "larger ones than 4 were not asked for"
    assert small.best_batch is not None
    size, rate = small.best_batch
    assert size == 4
    assert 4 / 0.104 * 0.25 < rate <= 4 / 0.104  # a sleep may be late on a busy machine


@pytest.mark.slow
def test_a_batch_that_fails_costs_no_figure(rows: dict[str, LedgerRow]) -> None:
    large = rows["large"]
    assert large.failure is None
    assert [size for size, _ in large.batches] == [1]
    assert large.batches_ended == r"batches of 2: too large\nfor this one"


@pytest.mark.slow
def test_an_entry_that_dies_is_one_row_with_its_reason(rows: dict[str, LedgerRow]) -> None:
    assert rows["dying"].failure is not None
    assert "SIGKILL" in rows["dying"].failure
    assert [row.failure for name, row in rows.items() if name != "dying"] == [None] * 4


@pytest.mark.slow
def test_a_vae_encodes_a_picture_that_it_made(bench: Bench, rows: dict[str, LedgerRow]) -> None:
    row = rows["large: encode + decode"]
    assert row.task == "encode and decode"
    assert row.pid != rows["large"].pid
    assert [size for size, _ in row.batches] == [1]  # a batch would encode its one source once
    # The fake gives back the mean of its source: mid-grey, as the picture that it made is.
    (decoded,) = (bench.folder / "out" / "pictures").glob("large-*/decoded/1.png")
    assert _mean_of(decoded) == pytest.approx(0.75, abs=0.01)  # (0.5 + 1) / 2


@pytest.mark.slow
def test_the_pictures_are_kept(bench: Bench, rows: dict[str, LedgerRow]) -> None:
    folder = bench.folder / "out" / "pictures"
    assert {path.name for path in folder.glob("small-*/*")} == {"1.png", "2.png", "3.png"}
    # The enlarger was given the samples in turn, brought to 64 pixels, after one to warm up.
    levels = [_mean_of(folder / "plain" / f"{n}.png") for n in (1, 2, 3)]
    assert levels == [1.0, 0.0, 1.0]
    with Image.open(folder / "plain" / "1.png") as image:
        assert image.size == (256, 256)
    assert rows["plain"].precision == "float32"


@pytest.mark.slow
def test_table_json_and_csv_agree(bench: Bench, rows: dict[str, LedgerRow]) -> None:
    out = bench.folder / "out"
    told = json.loads((out / "ledger.json").read_text())
    table = list(csv.DictReader((out / "ledger.csv").read_text().splitlines()))
    text = (out / "ledger.md").read_text()
    assert [row["name"] for row in told["rows"]] == [row["name"] for row in table] == list(rows)
    for fields, line in zip(told["rows"], table, strict=True):
        row = rows[fields["name"]]
        assert fields["seconds"] == list(row.seconds)
        assert [float(second) for second in line["seconds"].split()] == list(row.seconds)
        if row.failure is not None:
            assert fields["failure"] == line["failure"] == row.failure
            assert f"failed: {row.failure}" in text
            assert fields["seconds_mean"] is None
            continue
        mean = statistics.fmean(row.seconds)
        assert float(line["seconds_mean"]) == fields["seconds_mean"] == pytest.approx(mean)
        assert f"| {mean:.3g} ± {row.deviation_seconds:.3g} (" in text
        assert f"| {row.ram_above_mb:.3g} ({row.ram_total_mb:.3g}) |" in text
    assert told["advice"]
    assert all(f"- {line}" in text for line in told["advice"])
    assert told["machine"]["versions"]["torch"] in text
    with Image.open(out / "ledger.png") as chart:
        assert chart.width > chart.height > 100


@pytest.mark.slow
def test_rows_are_kept_until_asked_for_again(bench: Bench, rows: dict[str, LedgerRow]) -> None:
    chosen = QUICK.model_copy(update={"max_batch": 4})
    again = {"small": IGME.open(bench.folder / "small")}
    kept, enlarged = bench.run(again, ["plain"], chosen)
    assert (kept, enlarged) == (rows["small"], rows["plain"])
    assert all("kept as it was measured before" in line for line in bench.said)
    (anew,) = bench.run({}, ["plain"], chosen, again=True)
    assert anew.pid != enlarged.pid
    assert [line.split(":")[0] for line in bench.said] == [
        *(f"plain, {n} of 3" for n in (1, 2, 3)),
        "plain",
    ]


def test_what_failed_is_tried_again_and_another_protocol_is_another_row(tmp_path: Path) -> None:
    bench = Bench(tmp_path, generation="no.such.package:make")
    models = {"one": make_model(tmp_path / "one")}
    (failed,) = bench.run(models)
    assert failed.failure == "ModuleNotFoundError: No module named 'no'"
    (same,) = bench.run(models)
    assert same.pid != failed.pid
    assert same.fingerprint == failed.fingerprint
    (longer,) = bench.run(models, settings=QUICK.model_copy(update={"images": 4}))
    assert longer.fingerprint != failed.fingerprint


def test_a_reason_is_one_line() -> None:
    assert reason_of(AtelierError("too\n  large")) == r"too\n large"
    assert reason_of(MemoryError()) == "there is not enough memory"
    assert reason_of(ValueError("one\ntwo")) == "ValueError: one"
    assert reason_of(KeyError()) == "KeyError"


def test_nothing_to_measure_is_said(tmp_path: Path) -> None:
    with pytest.raises(AtelierError, match="nothing to measure"):
        Bench(tmp_path).run({})


# ---------------------------------------------------------------- closed forms


def row(name: str, seconds: tuple[float, ...] = (1.0, 1.0), **changes: Any) -> LedgerRow:
    fields = {
        "name": name,
        "task": "generate",
        "family": "dcgan",
        "digest": digest(name),
        "asked": "",
        "device": "cpu",
        "load_average": 0.5,
        "fingerprint": digest(name),
        "width": 64,
        "height": 64,
        "ram_above_mb": 100.0,
        "ram_total_mb": 400.0,
        "batches": ((1, 1 / statistics.fmean(seconds)),) if seconds else (),
        "seconds": seconds,
    }
    return LedgerRow.model_validate(fields | changes)


@settings(max_examples=30)
@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=20))
def test_mean_and_deviation_are_numpys(seconds: list[float]) -> None:
    found = row("any", tuple(seconds))
    assert found.mean_seconds == pytest.approx(np.mean(seconds))
    assert found.deviation_seconds == pytest.approx(np.std(seconds, ddof=1), abs=1e-9)


def test_advice_names_the_quickest_the_smallest_and_the_most_steerable() -> None:
    rows = [
        row("gan", (0.1, 0.12), ram_above_mb=300.0, batches=((1, 9.0), (8, 20.0))),
        row("vae", (0.5, 0.52), family="vae", ram_above_mb=50.0, batches=((1, 2.0), (8, 90.0))),
        row("sd", (8.0, 8.2), family="stable_diffusion", ram_above_mb=4000.0),
        row("broken", (), failure="no"),
        row("enlarger", (0.01, 0.01), task="enlarge", family=None),
    ]
    speed, memory, control, quality, enlarging = advice(rows)
    assert speed == (
        "For speed: gan, 0.11 s for a picture of 64×64; for many at once vae, 90 images/s in "
        "batches of 8."
    )
    assert memory.startswith("For little memory: vae, 50 MB above")
    assert control.startswith("For control: sd (seed, mask, prompt, source,")
    assert "negative prompt" in control
    assert quality.startswith("For quality: unknown")
    assert enlarging == "For enlarging quickly: enlarger, 0.01 s for a picture of 64×64."


def test_advice_does_not_tell_apart_what_the_spread_does_not() -> None:
    near = [row("a", (0.9, 1.1)), row("b", (1.0, 1.3)), row("c", (5.0, 5.1))]
    assert "a, 1 s for a picture of 64×64 (not distinguishable from b)" in advice(near)[0]
    assert "not distinguishable" not in advice([near[0], near[2]])[0]


def test_advice_warns_where_sizes_differ() -> None:
    alike, other = row("a"), row("b", width=512, height=512)
    assert "differ in size" in advice([alike, other])[-1]
    assert not any("differ in size" in line for line in advice([alike]))


def distance(value: float, half: float = 0.1, **changes: Any) -> Measurement:
    fields = {
        "metric": "frechet",
        "value": value,
        "low": value - half,
        "high": value + half,
        "num_generated": 5000,
        "num_real": 5000,
        "against": "training",
        "dataset_digest": digest("paintings"),
        "features": "embedded",
        "features_sha256": digest("features"),
        "resizer": "none",
        "precision": "float32, float64",
    }
    return Measurement.model_validate(fields | changes)


def of_quality(*measurements: Measurement) -> str:
    rows = [row(f"m{n}", measurements=(found,)) for n, found in enumerate(measurements)]
    return next(line for line in advice(rows) if line.startswith("For quality"))


def test_quality_is_ranked_only_where_it_was_measured_alike() -> None:
    assert of_quality(distance(3.0), distance(2.0)).startswith("For quality: m1 before m0;")
    overlapping = of_quality(distance(2.05), distance(2.0))
    assert overlapping.startswith("For quality: m1 (not distinguishable from m0) before")
    other: dict[str, Any] = {"dataset_digest": digest("photographs")}
    assert "no two of them" in of_quality(distance(3.0), distance(2.0, **other))
    assert "fewer than two" in of_quality(distance(3.0))
    # A pair on other pictures takes no part in the ranking of the rest.
    three = of_quality(distance(1.0, **other), distance(3.0), distance(2.0))
    assert three.startswith("For quality: m2 before m1;")


def test_controls_come_from_the_table_of_families() -> None:
    assert controls(FAMILIES["dcgan"]) == ["seed", "truncation", "interpolation between seeds"]
    assert controls(FAMILIES["cyclegan"]) == ["style", "source"]
    drawn = controls(FAMILIES["sketch_diffusion"])
    assert {"style", "sketch", "closeness to the sketch"} <= {*drawn}
    assert "style mixing by layers" in controls(FAMILIES["stylegan2"])
    assert control_table(["unheard of"]) == ""
    assert "| cyclegan | style, source |" in control_table(["cyclegan"])


def test_an_unfinished_or_failed_ledger_can_be_read(tmp_path: Path) -> None:
    machine = Machine(
        processor="a processor",
        cores=2,
        memory_mb=None,
        gpu="a GPU",
        system="a system",
        versions={"torch": "2"},
    )
    failed = row("only | one", (), failure="broke")
    write_report(Ledger((failed,), machine, num_waiting=3), tmp_path)
    text = (tmp_path / "ledger.md").read_text()
    assert "only \\| one" in text
    assert "3 are still to be measured" in text
    assert "Nothing was measured" in text


# ---------------------------------------------------------------- energy and the driver


def make_counters(root: Path, *packages: int) -> None:
    for place, microjoules in enumerate(packages):
        zone = root / f"intel-rapl:{place}"
        zone.mkdir(parents=True, exist_ok=True)
        (zone / "name").write_text(f"package-{place}\n")
        (zone / "energy_uj").write_text(f"{microjoules}\n")
        (zone / "max_energy_range_uj").write_text("1000000000\n")
    core = root / "intel-rapl:0:0"  # a part of package 0, which must not be counted twice
    core.mkdir(parents=True, exist_ok=True)
    (core / "name").write_text("core\n")
    (core / "energy_uj").write_text("77\n")
    (core / "max_energy_range_uj").write_text("1000000000\n")


def test_energy_is_the_difference_of_the_counters_also_past_their_end(tmp_path: Path) -> None:
    make_counters(tmp_path, 5_000_000, 999_000_000)
    meter = EnergyMeter(RAPL(tmp_path), None)
    meter.start()
    make_counters(tmp_path, 7_000_000, 2_000_000)  # 2 J; 1 J to the end of the range, 2 J after
    meter.stop()
    assert meter.joules == pytest.approx(5.0)
    meter.start()
    make_counters(tmp_path, 7_500_000, 2_000_000)
    meter.stop()
    assert meter.joules == pytest.approx(5.5)
    assert meter.source == "the processor (RAPL)"


def test_energy_that_nobody_tells_is_said_to_be_so(tmp_path: Path) -> None:
    meter = EnergyMeter(RAPL(tmp_path / "nothing"), None)
    meter.start()
    meter.stop()
    assert meter.joules is None
    assert "no counters" in meter.source


class FakeDriver:
    """NVML's two functions, as its C interface has them."""

    def __init__(self) -> None:
        self.millijoules = 1000
        self.status = 0

    def nvmlDeviceGetMemoryInfo(self, handle: object, memory: Any) -> int:  # noqa: N802
        memory._obj.used = 7 * MIB
        return self.status

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object, energy: Any) -> int:  # noqa: N802
        energy._obj.value = self.millijoules
        return self.status


def test_the_driver_is_asked_for_memory_and_energy(tmp_path: Path) -> None:
    driver = FakeDriver()
    gpu = NVML(driver, ctypes.c_void_p())
    assert gpu.used_bytes() == 7 * MIB
    meter = EnergyMeter(RAPL(tmp_path), gpu)
    meter.start()
    driver.millijoules = 3500
    meter.stop()
    assert meter.joules == pytest.approx(2.5)
    assert meter.source == "the GPU (NVML)"
    driver.status = 3  # not supported
    assert gpu.used_bytes() is None
    assert EnergyMeter(RAPL(tmp_path), gpu).joules is None
