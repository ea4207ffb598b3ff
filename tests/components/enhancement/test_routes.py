"""Routes of computing a network: what each gives, which is chosen, and how that is kept."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.common.download import weights_cache
from components.enhancement import RealESRGANEnhancer
from components.enhancement import engines as engines_module
from components.enhancement import routes as routes_module
from components.enhancement.engines import ROUTES, Route, build, check_route
from components.enhancement.influence import TOLERANCE, measured_context
from components.enhancement.routes import Choice, choose, probe_pictures
from components.enhancement.shim import network_classes
from components.enhancement.weights import Network, load_network
from interfaces.errors import AtelierError
from interfaces.ies import IES
from interfaces.ies import ROUTES as OFFERED
from tests.helpers import make_igdt, shared

CPU = torch.device("cpu")


def network(num_conv: int = 2) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = network_classes()[1](num_feat=8, num_conv=num_conv, upscale=4).eval()
    return Network(module.requires_grad_(False), "SRVGGNetCompact", "0" * 64, num_conv + 2)


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, int], float]:
    """Seconds a picture by (route, batch), to be filled in; what is not there takes 1."""
    seconds: dict[tuple[str, int], float] = {}
    monkeypatch.setattr(
        routes_module,
        "_time",
        lambda usable, *_: {
            (name, batch): seconds.get((name, batch), 1.0) for name in usable for batch in (1, 4)
        },
    )
    return seconds


def offer(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(routes_module, "_candidates", lambda _: [ROUTES[name] for name in names])


# --- what a route gives --------------------------------------------------------------------------


def test_the_settings_name_the_routes_that_there_are() -> None:
    assert set(OFFERED) == {"auto", *ROUTES}


@pytest.mark.parametrize("name", ["float32", "bfloat16", "openvino", "openvino-bfloat16"])
def test_every_route_gives_the_same_picture(name: str) -> None:
    levels = 4 if "bfloat16" in name else 0.001
    if name.startswith("openvino"):
        pytest.importorskip("openvino")
    one = network()
    pictures = torch.from_numpy(probe_pictures(3, 24))
    with torch.inference_mode():
        expected = one.module(pictures)
    forward = build(ROUTES[name], one, CPU)
    given = forward(pictures)
    assert given.dtype == torch.float32
    assert float((given - expected).abs().max()) * 255 < levels
    again = forward(torch.zeros_like(pictures))  # another call does not write over the first
    assert float((given - expected).abs().max()) * 255 < levels
    assert not torch.equal(again, given)
    assert forward(torch.rand(1, 3, 7, 13)).shape == (1, 3, 28, 52)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["compiled", "compiled-bfloat16"])
def test_the_compiled_routes_give_the_same_picture(name: str) -> None:
    one = network()
    check_route(ROUTES[name], CPU)
    pictures = torch.from_numpy(probe_pictures(2, 24))
    with torch.inference_mode():
        expected = one.module(pictures)
    given = build(ROUTES[name], one, CPU)(pictures)
    levels = 0.001 if name == "compiled" else 4
    assert float((given - expected).abs().max()) * 255 < levels


def test_openvinos_form_is_kept_and_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino")
    one, pictures = network(), torch.from_numpy(probe_pictures(1, 24))
    first = build(ROUTES["openvino"], one, CPU)(pictures)
    monkeypatch.setattr(openvino, "convert_model", lambda *_, **__: pytest.fail("converted again"))
    assert torch.equal(build(ROUTES["openvino"], one, CPU)(pictures), first)


def test_a_route_leaves_the_network_as_it_was() -> None:
    one = network()
    before = {name: value.clone() for name, value in one.module.state_dict().items()}
    build(ROUTES["bfloat16"], one, CPU)
    torch.testing.assert_close(one.module.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    "name,missing,remedy",
    [
        ("float16", None, "GPU"),
        ("openvino", "has_openvino", "pip install openvino"),
        ("compiled", "_has_compiler", "C\\+\\+ compiler"),
    ],
)
def test_a_route_that_cannot_be_gone_is_refused_before_a_batch(
    name: str,
    missing: str | None,
    remedy: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    if missing:
        monkeypatch.setattr(engines_module, missing, lambda *_: False)
    torch.save({"params": network().module.state_dict()}, tmp_path / "x.pth")
    settings = IES(weights=tmp_path / "x.pth", route=name, device="cpu")
    with pytest.raises(AtelierError, match=remedy) as refusal:
        RealESRGANEnhancer().enhance([], settings)
    assert "\n" not in str(refusal.value)


# --- which one is chosen -------------------------------------------------------------------------


def test_the_fastest_is_taken_and_how_many_at_once(
    times: dict[tuple[str, int], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, "float32", "compiled")
    fake_build(monkeypatch, {"compiled": 0.4})
    times.update({("compiled", 4): 0.5, ("compiled", 1): 0.7})
    assert choose("auto", network(), CPU) == Choice(
        ROUTES["compiled"], 4 * 64 * 64, 0, 0.5e6 / 64**2
    )


def fake_build(monkeypatch: pytest.MonkeyPatch, off: dict[str, float]) -> list[str]:
    """Routes that differ from float32 by so many levels; gives what is built."""
    built: list[str] = []

    def fake(route: Route, one: Network, device: torch.device) -> Any:
        built.append(route.name)
        shift = off.get(route.name, 0.0) / 255
        return lambda pictures: torch.full((*pictures.shape[:2], 4, 4), 0.5) + shift

    monkeypatch.setattr(routes_module, "build", fake)
    return built


@pytest.mark.parametrize("levels,taken", [(0.9, "bfloat16"), (2.1, "float32")])
def test_what_deviates_visibly_is_not_taken_unasked(
    levels: float, taken: str, times: dict[tuple[str, int], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, "float32", "bfloat16")
    fake_build(monkeypatch, {"bfloat16": levels})
    times[("bfloat16", 1)] = 0.1
    assert choose("auto", network(), CPU).route.name == taken
    asked = choose("bfloat16", network(), CPU)
    assert asked.route.name == "bfloat16"
    assert abs(asked.deviation - levels) <= 1


def test_a_gain_too_small_to_notice_changes_nothing(
    times: dict[tuple[str, int], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, "float32", "openvino")
    fake_build(monkeypatch, {})
    times.update({("float32", 4): 0.97, ("openvino", 1): 0.98})
    assert choose("auto", network(), CPU) == Choice(ROUTES["float32"], 64 * 64, 0, 1e6 / 64**2)


def test_what_was_measured_is_kept_for_the_machine_and_the_weights(
    times: dict[tuple[str, int], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, "float32")
    built = fake_build(monkeypatch, {})
    first = choose("auto", network(), CPU)
    assert built == ["float32"]
    times[("float32", 4)] = 0.1  # another mood of the machine
    assert choose("auto", network(), CPU) == first
    assert built == ["float32"]
    (kept,) = (weights_cache().parent / "routes").iterdir()
    assert json.loads(kept.read_text())["route"] == "float32"
    other = Network(network().module, "SRVGGNetCompact", "1" * 64)
    assert choose("auto", other, CPU) != first
    kept.write_text("{")  # cut off
    assert choose("auto", network(), CPU).pixels_at_once == 4 * 64 * 64


def test_an_engine_that_does_not_take_the_network_is_passed_over(
    times: dict[tuple[str, int], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, "float32", "openvino")
    real = build

    def fails(route: Route, one: Network, device: torch.device) -> Any:
        if route.engine == "openvino":
            raise AtelierError("OpenVINO cannot take it")
        return real(route, one, device)

    monkeypatch.setattr(routes_module, "build", fails)
    assert choose("auto", network(), CPU).route.name == "float32"
    with pytest.raises(AtelierError, match="cannot take it"):
        monkeypatch.setattr(routes_module, "check_route", lambda *_: None)
        choose("openvino", network(), CPU)


def test_the_choice_is_really_measured(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "atelier"):
        choice = choose("float32", network(), CPU)
    assert choice.route.name == "float32"
    assert choice.deviation == 0
    assert choice.pixels_at_once in {64 * 64, 4 * 64 * 64}
    assert "measured for this machine: the enlarger runs as float32" in caplog.text
    assert "{" not in caplog.text


def test_the_record_names_the_route(tmp_path: Path) -> None:
    torch.save({"params": network().module.state_dict()}, tmp_path / "x.pth")
    settings = IES(weights=tmp_path / "x.pth", route="bfloat16", device="cpu")
    (result,) = RealESRGANEnhancer().enhance([make_igdt(1, 8)], settings)
    assert result.enhancement.route == "bfloat16"
    (plain,) = RealESRGANEnhancer().enhance([make_igdt(1, 8)], IES(enhancer="lanczos"))
    assert plain.enhancement.route is None


@pytest.mark.slow
def test_bfloat16_with_the_real_weights_is_visible_and_so_not_chosen() -> None:
    """The statement of benchmarks/RESULTS.md about paintings holds for the probe too."""
    general = load_network(shared("weights/realesr-general-x4v3.pth"))
    choice = choose("bfloat16", general, CPU)
    assert 1 < choice.deviation < 12
    assert choose("auto", general, CPU).deviation <= 1


# --- the probe, and how far a pixel reaches ------------------------------------------------------


def test_the_probe_is_always_the_same_and_uses_the_whole_range() -> None:
    probe = probe_pictures(4)
    probe_pictures.cache_clear()
    assert np.array_equal(probe, probe_pictures(4))
    assert probe.shape == (4, 3, 64, 64)
    assert probe.min() < 0.1 and probe.max() > 0.9
    assert 0.1 < probe.std() < 0.3


class Blur(torch.nn.Module):
    """A network whose reach is known: each pixel depends on those up to `reach` beside it."""

    def __init__(self, reach: int, share: float) -> None:
        super().__init__()
        kernel = torch.zeros(2 * reach + 1)
        kernel[reach], kernel[0], kernel[-1] = 1 - 2 * share, share, share
        self.register_buffer("kernel", kernel.reshape(1, 1, 1, -1).repeat(3, 1, 1, 1))
        self.reach = reach

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        blurred = torch.nn.functional.conv2d(x, self.kernel, padding=(0, self.reach), groups=3)
        return torch.nn.functional.interpolate(blurred, scale_factor=4)


@pytest.mark.parametrize("reach", [5, 20, 40])
def test_the_influence_of_a_pixel_is_found(reach: int) -> None:
    one = Network(Blur(reach, 0.2), "Blur", f"{reach:064d}")
    context = measured_context(one, build(ROUTES["float32"], one, CPU), CPU)
    assert reach <= context <= reach + 8


def test_an_influence_that_nobody_sees_is_not_counted() -> None:
    one = Network(Blur(40, TOLERANCE / 255 / 2), "Blur", "2" * 64)
    assert measured_context(one, build(ROUTES["float32"], one, CPU), CPU) == 8
