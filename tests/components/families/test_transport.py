"""The optimal map between features, against closed forms and the Fréchet distance's gradient."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from components.families.sketch_diffusion import transport
from components.families.sketch_diffusion.transport import Moments, Transport, transport_loss

SIZE = 12


def features(count: int, seed: int) -> Tensor:
    """Features (count, 12), each direction of a spread of its own."""
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(SIZE, SIZE, generator=rng)
    return torch.randn(count, SIZE, generator=rng) @ mixing + torch.randn(SIZE, generator=rng)


def moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    return rows.mean(dim=0), torch.cov(rows.T, correction=0)


def test_moments_of_parts_are_those_of_the_whole() -> None:
    rows, found = features(57, seed=0), Moments(SIZE)
    for part in rows.split([1, 20, 3, 33]):
        found.add(part)
    mean, covariance = moments(rows)
    assert_close(found.mean, mean)
    assert_close(found.covariance, covariance)


def test_in_a_window_older_features_count_less() -> None:
    old, new = features(40, seed=1), features(40, seed=2)
    found = Moments(SIZE, window=40)
    for part in (old, new[:20], new[20:]):
        found.add(part)
    weights = torch.cat([torch.full((40,), 1 / 4), torch.full((20,), 1 / 2), torch.ones(20)])
    rows = torch.cat([old, new])
    mean = (weights[:, None] * rows).sum(dim=0) / weights.sum()
    assert_close(found.mean, mean)
    centred = rows - mean
    assert_close(found.covariance, centred.T @ (centred * weights[:, None]) / weights.sum())


def test_more_features_than_the_window_are_taken_as_they_are() -> None:
    rows, found = features(30, seed=7), Moments(SIZE, window=10)
    found.add(rows)
    for mine, theirs in zip((found.mean, found.covariance), moments(rows), strict=True):
        assert_close(mine, theirs)


@pytest.fixture
def both() -> tuple[Tensor, Tensor]:
    return features(400, seed=3), features(300, seed=4)


def known(sampled: Tensor, real: Tensor) -> Transport:
    found = Transport(SIZE)
    found.add(sampled, real)
    found.solve()
    return found


def test_the_mean_follows_sooner_than_the_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MEAN_WINDOW", 10)
    old, new = features(60, seed=5), features(10, seed=6)
    found = Transport(SIZE)
    found.add(old, old)
    found.add(new, old)
    assert_close(found.recent, new.mean(dim=0))
    assert_close(found.sampled.mean, torch.cat([old, new]).mean(dim=0))


def test_the_map_gives_sampled_features_the_paintings_moments(both: tuple[Tensor, Tensor]) -> None:
    sampled, real = both
    moved = known(sampled, real)(sampled)
    for mine, theirs in zip(moments(moved), moments(real), strict=True):
        assert_close(mine, theirs, rtol=1e-3, atol=1e-3)
    assert_close(known(real, real)(sampled), sampled, rtol=1e-3, atol=1e-3)


def test_the_way_is_the_gradient_of_the_frechet_distance(both: tuple[Tensor, Tensor]) -> None:
    sampled, real = (rows.double() for rows in both)
    sampled.requires_grad_()

    def root(matrix: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        return (vectors * values.sqrt()) @ vectors.T

    (mean, covariance), (wanted, spread) = moments(sampled), moments(real)
    half = root(spread)
    distance = (mean - wanted).square().sum() + covariance.trace() + spread.trace()
    distance = distance - 2 * root(half @ covariance @ half).trace()
    (gradient,) = torch.autograd.grad(distance, sampled)
    rows = both[0].clone().requires_grad_()
    (way,) = torch.autograd.grad(
        transport_loss(rows, known(*both)(rows.detach())).sum() / len(rows), rows
    )
    assert_close(way, gradient.float(), rtol=1e-3, atol=1e-4)


def test_along_other_axes_only_the_mean_is_moved(
    both: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "DIMENSIONS", 3)
    sampled, real = both
    moved = known(sampled, real)(sampled)
    _, axes = torch.linalg.eigh(moments(real)[1])
    (mean, covariance), (_, before), (wanted, spread) = map(moments, (moved, sampled, real))
    assert_close(mean, wanted, rtol=1e-3, atol=1e-3)
    compared, others = axes[:, -3:], axes[:, :-3]
    for part, theirs in ((compared, spread), (others, before)):
        assert_close(part.T @ covariance @ part, part.T @ theirs @ part, rtol=1e-3, atol=1e-2)


def test_it_waits_for_enough_and_is_found_anew_now_and_then(
    both: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "READY", 100)
    monkeypatch.setattr(transport, "SOLVE_EVERY", 2)
    sampled, real = both
    found = Transport(SIZE)
    stretches: list[Tensor] = []
    for step in range(5):
        rows = slice(40 * step, 40 * step + 40)
        found.add(sampled[rows], real[rows])
        assert found.is_ready == (step >= 2)
        stretches.append(found.stretch.clone())
    assert torch.equal(stretches[1], torch.eye(SIZE))
    assert torch.equal(stretches[2], stretches[3])
    assert not torch.equal(stretches[3], stretches[4])
