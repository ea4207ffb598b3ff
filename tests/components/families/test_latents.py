"""Latents: from a seed alone, tamed by truncation, turned from one seed's to another's."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from components.families.latent import LatentOptions
from components.families.sampling import SAMPLING_BATCH, draw_latents, in_fixed_batches, slerp

SEEDS = st.integers(0, 2**63 - 1)


@given(SEEDS, SEEDS)
def test_the_ends_of_the_way_are_the_seeds_own_latents(first: int, second: int) -> None:
    mine, theirs = draw_latents([first, second], 16, LatentOptions())
    for blend, wanted in ((0.0, mine), (1.0, theirs)):
        way = LatentOptions(towards_seed=second, blend=blend)
        assert_close(draw_latents([first], 16, way)[0], wanted, rtol=0, atol=0)


@given(SEEDS, SEEDS, st.floats(0, 1))
def test_on_the_way_lengths_are_blended_and_angles_too(a: int, b: int, blend: float) -> None:
    start, end = draw_latents([a, b], 16, LatentOptions())
    between = slerp(start, end, blend)
    assert_close(between.norm(), torch.lerp(start.norm(), end.norm(), blend), rtol=1e-3, atol=1e-3)
    angles = [
        torch.nn.functional.cosine_similarity(start, other, dim=0).clamp(-1, 1).acos()
        for other in (between, end)
    ]
    assert_close(angles[0], blend * angles[1], rtol=2e-3, atol=2e-3)


@given(st.lists(SEEDS, min_size=1, max_size=9), SEEDS, st.floats(0, 1))
def test_a_way_does_not_hang_on_the_seeds_beside_it(seeds: list[int], to: int, at: float) -> None:
    """Also beside the end itself, to which there is no way to turn."""
    way = LatentOptions(towards_seed=to, blend=at)
    together = draw_latents([*seeds, to], 16, way)
    alone = torch.cat([draw_latents([seed], 16, way) for seed in (*seeds, to)])
    assert_close(together, alone, rtol=0, atol=0)
    assert_close(together[-1], draw_latents([to], 16, LatentOptions())[0])


def test_from_nothing_the_way_is_straight() -> None:
    assert_close(slerp(torch.zeros(2, 4), torch.ones(4), 0.25), torch.full((2, 4), 0.25))


@given(SEEDS, st.floats(0.01, 1))
def test_truncation_is_a_product(seed: int, truncation: float) -> None:
    whole = draw_latents([seed], 16, LatentOptions())
    assert_close(draw_latents([seed], 16, LatentOptions(truncation=truncation)), whole * truncation)


@given(st.integers(1, 30))
def test_networks_always_see_as_many_at_a_time(count: int) -> None:
    seen = []

    def network(rows: torch.Tensor) -> torch.Tensor:
        seen.append(len(rows))
        return rows[:, None, None, None].expand(-1, 3, 2, 2)

    rows = torch.linspace(-2, 2, count)
    made = in_fixed_batches(network, [rows], torch.device("cpu"))
    assert set(seen) == {SAMPLING_BATCH}
    assert_close(made[:, 0, 0, 0], rows.clamp(-1, 1))
