"""Choice of the networks that enlarge: a pure function, and what the enhancer makes of it."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.enhancement import RealESRGANEnhancer
from components.enhancement import choice as choice_module
from components.enhancement import enhancer as enhancer_module
from components.enhancement import routes as routes_module
from components.enhancement.choice import BEST, PATIENCE, QUICK, SLOWEST, weigh
from components.enhancement.shim import network_classes
from components.enhancement.sources import Source
from interfaces.errors import AtelierError
from interfaces.ies import IES
from tests.helpers import make_igdt

PICTURE = 64 * 64


def speed(best: float, quick: float) -> choice_module.Speed:
    return {BEST: best, QUICK: quick}.__getitem__


# --- the weighing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scale,pictures,networks",
    [
        (4, 1, (BEST,)),
        (4, 100, (BEST,)),  # 70 s
        (4, 200, (QUICK,)),
        (16, 1, (BEST, BEST)),  # 12 s
        (16, 16, (BEST, QUICK)),
        (16, 100, (BEST, QUICK)),  # 70 + 33 s
        (16, 200, (QUICK, QUICK)),
    ],
)
def test_what_two_quiet_threads_can_wait_for(
    scale: int, pictures: int, networks: tuple[str, ...]
) -> None:
    """x4plus at 0.7 s a picture of 64×64, the quick network at 0.02 s."""
    choice = weigh(scale, pictures * PICTURE, speed(0.7e6 / PICTURE, 0.02e6 / PICTURE))
    assert choice.networks == networks


@given(
    st.sampled_from([4, 16]),
    st.integers(1, 10**9),
    st.floats(0.1, SLOWEST),
    st.floats(0.001, 1),
)
def test_the_best_that_can_be_waited_for_is_taken(
    scale: int, pixels: int, best: float, share: float
) -> None:
    quick = best * share
    choice = weigh(scale, pixels, speed(best, quick))
    order = {4: [(BEST,), (QUICK,)], 16: [(BEST, BEST), (BEST, QUICK), (QUICK, QUICK)]}[scale]

    def seconds(networks: tuple[str, ...]) -> float:
        each = [{BEST: best, QUICK: quick}[name] for name in networks]
        return pixels / 1e6 * sum(each[:1] + [16 * cost for cost in each[1:]])

    fitting = [networks for networks in order if seconds(networks) <= PATIENCE]
    assert choice.networks == (fitting or order)[0 if fitting else -1]
    assert choice.saved >= 0


def test_a_small_request_is_not_measured() -> None:
    choice = weigh(4, PICTURE, lambda _: pytest.fail("measured"))
    assert choice.networks == (BEST,) and choice.saved == 0


# --- the enhancer --------------------------------------------------------------------------------


@pytest.fixture
def by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A tiny network under each name, and a stopwatch that finds the best one slow."""
    with torch.random.fork_rng():
        for seed, name in enumerate((BEST, QUICK)):
            torch.manual_seed(seed)
            network = network_classes()[1](num_feat=4 + seed, num_conv=1, upscale=4)
            torch.save({"params": network.state_dict()}, tmp_path / f"{name}.pth")
    monkeypatch.setattr(
        enhancer_module, "locate", lambda name, *_: Source(tmp_path / f"{name}.pth", f"the {name}")
    )
    monkeypatch.setattr(routes_module, "_time", lambda usable, *_: {(next(iter(usable)), 1): 1.0})
    monkeypatch.setattr(
        RealESRGANEnhancer, "_speed", lambda _, name, *__: {BEST: 200.0, QUICK: 5.0}[name]
    )


@pytest.mark.usefixtures("by_name")
def test_a_quicker_network_takes_over_in_one_line_and_is_recorded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = IES(device="cpu", scale=16)
    enhancer = RealESRGANEnhancer()
    with caplog.at_level(logging.WARNING, "atelier"):
        (result,) = enhancer.enhance([make_igdt(1, 8)], settings, pixels=100 * PICTURE)
    both = f"{BEST}+{QUICK}"
    record = result.enhancement
    assert record.enhancer == both
    assert record.weights_from == f"the {BEST}+the {QUICK}"
    assert record.second_sha256 not in (None, record.weights_sha256)
    (line,) = caplog.messages
    assert f"{BEST} and {QUICK}" in line
    assert f"{BEST} alone would take about" in line
    assert f"--enhancer {BEST}" in line
    named = settings.model_copy(update={"enhancer": both})  # as whoever makes it again names it
    (again,) = enhancer.enhance([make_igdt(1, 8)], named)
    assert np.array_equal(again.images, result.images)
    assert again.enhancement == record
    assert enhancer.planned(named) == record.model_copy(update={"route": None})


@pytest.mark.usefixtures("by_name")
def test_few_pictures_and_a_person_who_insists_get_the_best_throughout() -> None:
    enhancer, batch = RealESRGANEnhancer(), make_igdt(1, 8)
    for enhancer_name, pixels in (("auto", None), ("auto", PICTURE), (BEST, 10**7)):
        settings = IES(device="cpu", scale=16, enhancer=enhancer_name)
        (result,) = enhancer.enhance([batch], settings, pixels=pixels)
        assert result.enhancement.enhancer == BEST
        assert result.enhancement.second_sha256 is None


@pytest.mark.parametrize(
    "enhancer,scale,fault",
    [
        ("realesrgan-x4plus+embedded", 4, "choose scale 16"),
        ("embedded+embedded+embedded", 16, "names 3 networks"),
        ("embedded+lanczos", 16, "'lanczos' is not known"),
    ],
)
def test_pairs_that_cannot_be_are_refused(enhancer: str, scale: int, fault: str) -> None:
    settings = IES.model_validate({"enhancer": enhancer, "scale": scale})
    with pytest.raises(AtelierError, match=fault) as refusal:
        RealESRGANEnhancer().enhance([], settings)
    assert "\n" not in str(refusal.value)
