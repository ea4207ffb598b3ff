"""The three components over Ray: the pictures of one process, to the bit."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from atelier.assembly import assemble
from atelier.ray import REPLACEMENTS
from components.common.shipped import SHIPPED_MODELS
from interfaces.batch import ImageBatch
from interfaces.errors import AtelierError, RefusedError
from interfaces.ics import ICS
from interfaces.ies import IES
from interfaces.igdt import IGDT, ImageGenerator
from interfaces.igme import IGME
from interfaces.igs import IGS
from tests.end_to_end.cli import command, environment
from tests.helpers import make_enhancement, make_iedt, make_igdt

ray = pytest.importorskip("ray", reason="Ray is missing: pip install 'atelier[ray]'")

from atelier.ray.components import _check_same, _joined, _parts  # noqa: E402
from atelier.ray.worker import Encoding, Shop, at_hand, files_of  # noqa: E402
from tests.atelier.ray.test_crew import descendants, start_of_ray  # noqa: E402


@pytest.mark.parametrize("make", [make_igdt, make_iedt])
@pytest.mark.parametrize(("number", "size"), [(1, 4), (4, 4), (5, 4), (9, 4), (3, 1)])
def test_a_batch_in_parts_is_the_batch(
    make: Callable[[int, int], ImageBatch], number: int, size: int
) -> None:
    batch = make(number, 8)
    parts = list(_parts(batch, size))
    assert max(map(len, parts)) <= size
    assert _joined(parts) == batch


def test_another_enlargement_is_refused_by_what_differs() -> None:
    wanted = make_enhancement()
    _check_same(wanted, wanted)
    with pytest.raises(RefusedError, match=r"\(route openvino for float32\).*--route"):
        _check_same(
            wanted.model_copy(update={"route": "openvino"}),
            wanted.model_copy(update={"route": "float32"}),
        )


def test_a_cluster_that_is_away_is_said_before_a_run_has_its_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [*command("generate", "--model=shipped", "--count=1", "--ray")],
        cwd=tmp_path,
        env=environment() | {"RAY_ADDRESS": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "RAY_ADDRESS=127.0.0.1:1: nothing answers there" in done.stderr
    assert not list(tmp_path.glob("workspace/runs/*"))


def test_a_machine_without_the_model_gets_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = IGME.open(SHIPPED_MODELS["shipped"])
    files = files_of(model.directory)
    monkeypatch.setattr(ray, "get", lambda sent: sent)
    away = model.model_copy(update={"directory": tmp_path / "away"})
    copies = {at_hand(away, files).directory for _ in range(2)}
    (copy,) = copies
    assert IGME.open(copy) == model.model_copy(update={"directory": copy})
    assert files_of(copy) == files
    assert at_hand(model, files).directory == model.directory


def test_no_other_certificate_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Encoding(make_iedt(1, 8).to_bytes(), ICS().to_bytes(), "0" * 64)
    with pytest.raises(RefusedError, match="another certificate"):
        work.carry_out(Shop(), print)
    monkeypatch.setenv("ATELIER_CREDENTIALS", str(tmp_path / "none"))
    with pytest.raises(AtelierError):
        work.carry_out(Shop(), print)
    assert not (tmp_path / "none").exists()


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(**start_of_ray())
    yield
    ray.shutdown()


@pytest.fixture
def two_threads() -> Iterator[None]:
    """More than Ray grants a worker of one processor: the last bits depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_pictures_are_those_of_one_process_though_a_worker_is_killed(
    cluster: None, two_threads: None, tmp_path: Path
) -> None:
    model = IGME.open(SHIPPED_MODELS["shipped"])
    here, there = assemble(tmp_path), assemble(tmp_path, REPLACEMENTS)
    there = replace(there, generation=_Killing(there.generation))
    wanted = IGS(seeds="5-20,3,40-55", batch_size=12)
    enlarged = IES(enhancer="embedded", route="float32")
    made = [
        list(
            parts.conversion.convert(
                parts.enhancement.enhance(parts.generation.generate(model, wanted), enlarged),
                ICS(sign=False),
            )
        )
        for parts in (there, here)
    ]
    assert len(made[0]) == 33
    assert [one.record for one in made[0]] == [one.record for one in made[1]]
    assert made[0] == made[1]


class _Killing:
    """A generator after whose first batch a worker dies."""

    def __init__(self, inner: ImageGenerator) -> None:
        self._inner = inner

    def generate(self, model: IGME, settings: IGS) -> Iterator[IGDT]:
        batches = self._inner.generate(model, settings)
        yield next(batches)
        workers = [pid for pid in descendants(os.getpid()) if _is_worker(pid)]
        os.kill(workers[0], signal.SIGKILL)
        yield from batches


def _is_worker(pid: int) -> bool:
    try:
        return b"ray::Worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended meanwhile
        return False


@pytest.mark.slow
def test_signed_files_are_one_process_es_but_for_the_signature(
    cluster: None, tmp_path: Path
) -> None:
    from components.conversion import record_inside

    batches = [make_iedt(3, 8), make_iedt(18, 8, seed=3)]
    made = [
        list(assemble(tmp_path, components).conversion.convert(batches, ICS()))
        for components in (REPLACEMENTS, {})
    ]
    assert [one.record for one in made[0]] == [one.record for one in made[1]]
    assert all(record_inside(one.data) == one.record for one in made[0])
    pixels = [[np.asarray(Image.open(BytesIO(one.data))) for one in some] for some in made]
    np.testing.assert_array_equal(*pixels)
