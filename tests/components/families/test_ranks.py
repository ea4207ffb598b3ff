"""A batch that several processes share: gradients, scalars and noise are one process's."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from components.families import FAMILIES
from components.families.draws import Draws
from components.families.port import Shape
from components.families.ranks import ALONE, Ranks, SynchronisedBatchNorm, synchronise
from components.families.trainer import Machine, parts_of
from tests.components.families.rank_process import CASES, every_case
from tests.helpers import REPOSITORY

PROCESS = "tests.components.families.rank_process"


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return every_case(ALONE)


def shared_by(count: int, folder: Path) -> list[dict[str, Any]]:
    """Findings of each of `count` processes."""
    meeting = folder / f"meeting-of-{count}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", PROCESS, str(index), str(count), str(meeting), str(folder)],
            cwd=REPOSITORY,
        )
        for index in range(count)
    ]
    assert [process.wait(timeout=400) for process in processes] == [0] * count
    return [torch.load(folder / f"{index}-of-{count}.pt") for index in range(count)]


@pytest.fixture(scope="module", params=[2, 4], ids="{} ranks".format)
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    return shared_by(request.param, tmp_path_factory.mktemp("ranks"))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_gradients_scalars_and_noise_are_one_processs(
    case: str, alone: dict[str, Any], shared: list[dict[str, Any]]
) -> None:
    wanted, found = alone[case], shared[0][case]
    assert wanted["gradients"].keys() == found["gradients"].keys()
    largest = max(float(gradient.abs().max()) for gradient in wanted["gradients"].values())
    for name, gradient in wanted["gradients"].items():
        assert_close(found["gradients"][name], gradient, rtol=0, atol=1e-5 * max(1.0, largest))
    for name, scalar in wanted["scalars"].items():
        assert_close(found["scalars"][name], scalar, rtol=1e-4, atol=1e-5, check_dtype=False)
    assert torch.equal(found["noise"], wanted["noise"])


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_rank_has_the_same_state_to_the_bit(case: str, shared: list[dict[str, Any]]) -> None:
    first, *others = (list(leaves(rank[case]["state"])) for rank in shared)
    for other in others:
        assert len(other) == len(first)
        assert all(torch.equal(*pair) for pair in zip(first, other, strict=True))


def leaves(state: Any) -> Iterator[Tensor]:
    """All tensors and numbers of a nested state, in order."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict):
        for value in state.values():
            yield from leaves(value)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from leaves(value)
    elif isinstance(state, int | float):
        yield torch.tensor(state)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_ranks_draws_are_one_process_s_in_order(count: int) -> None:
    def drawn(ranks: Ranks, share: int) -> list[Tensor]:
        draws = Draws(torch.Generator().manual_seed(3), ranks)
        return [
            draws.normal(share, 5),
            draws.uniform(2, share, 1, axis=1),
            draws.integers(0, 9, share),
        ]

    whole = drawn(ALONE, 6)
    by_rank = [drawn(Ranks(index, count), 6 // count) for index in range(count)]
    for place, axis in enumerate((0, 1, 0)):
        assert torch.equal(torch.cat([rank[place] for rank in by_rank], dim=axis), whole[place])


@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2])
def test_a_part_of_a_batch_is_the_same_rows_however_many_ranks_have_it(
    accumulate: int, count: int
) -> None:
    rows = torch.arange(12)
    shares = [parts_of(accumulate, Ranks(index, count).rows(rows)) for index in range(count)]
    for place, (part,) in enumerate(parts_of(accumulate, rows)):
        assert torch.equal(torch.cat([share[place][0] for share in shares]), part)


def test_batch_normalisation_by_itself_is_torchs_own() -> None:
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    other = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    other.load_state_dict(plain.state_dict())
    synchronise(other, Ranks(0, 2))
    assert isinstance(other[1], SynchronisedBatchNorm)
    other[1].ranks = ALONE
    images = torch.randn(5, 3, 8, 8)
    assert_close(other(images), plain(images))
    assert_close(other.state_dict(), plain.state_dict())


def test_stylegan2_refuses_ranks_that_would_split_its_groups() -> None:
    family = FAMILIES["stylegan2"]
    config = family.config.model_validate({"batch_size": 8})
    machine = Machine(torch.device("cpu"), torch.float32, torch.Generator(), Ranks(0, 4))
    with pytest.raises(ValueError, match="choose a multiple of 16"):
        family.method().build_trainer(config, Shape(16, 2), machine)
