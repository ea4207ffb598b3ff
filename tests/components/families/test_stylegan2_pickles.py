"""Published networks: pictures against a plain generator, and pickles that mean harm refused.

No published file can lie here, so pickles of the same layout are built: torch modules whose classes
are stored through a reconstructing function with their source beside them. The modules below are
also the reference: they compute as the papers' equations say, one kernel an image, filters by zeros
put between pixels and a plain convolution.
"""

import functools
import io
import math
import pickle
import struct
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from components.families.port import Request, Shape
from components.families.stylegan2.config import Options
from components.families.stylegan2.method import Sampler, Trainer
from components.families.stylegan2.networks import Discriminator, Generator
from components.families.stylegan2.published import import_pickle, read_network_pickle
from components.families.trainer import Machine

# ---------------------------------------------------------------- the layout


def _reconstruct_persistent_obj(meta: Any) -> Any:
    raise AssertionError("the reader must not call this")


class EasyDict(dict):
    """A dict of another name, as such pickles have."""


def name_the_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let be found what the pickles name, while they are written."""
    persistence = types.ModuleType("torch_utils.persistence")
    utilities = types.ModuleType("dnnlib.util")
    for module, thing in ((persistence, _reconstruct_persistent_obj), (utilities, EasyDict)):
        monkeypatch.setattr(thing, "__module__", module.__name__)
        setattr(module, thing.__name__, thing)
        package = module.__name__.partition(".")[0]
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
        monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture(autouse=True)
def layout(monkeypatch: pytest.MonkeyPatch) -> None:
    name_the_layout(monkeypatch)


class Stored(nn.Module):
    """A module that is pickled as published ones are."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.__dict__.update(attributes, _init_args=(), _init_kwargs=EasyDict(attributes))

    def __reduce__(self) -> tuple[Any, ...]:
        meta = {
            "type": "class",
            "version": 6,
            "module_src": "raise SystemExit('this source must never run')",
            "class_name": type(self).__name__,
            "state": dict(self.__dict__),
        }
        return _reconstruct_persistent_obj, (meta,)


# ---------------------------------------------------------------- the reference

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0])


def parameter(*size: int, scale: float = 1.0, about: float = 0.0) -> nn.Parameter:
    return nn.Parameter(torch.randn(size) * scale + about, requires_grad=False)


def filtered(images: Tensor, before: int, after: int, gain: float) -> Tensor:
    """Every channel padded by zeros and filtered by the outer product of the taps."""
    kernel = torch.outer(TAPS, TAPS) / 64 * gain
    single = images.reshape(-1, 1, *images.shape[2:])
    found = F.conv2d(F.pad(single, [before, after, before, after]), kernel[None, None])
    return found.reshape(*images.shape[:2], *found.shape[2:])


def zeros_between(images: Tensor) -> Tensor:
    """Each pixel followed by a zero, in rows and columns."""
    spread = torch.stack([images, torch.zeros_like(images)], dim=4).flatten(3)
    return torch.stack([spread, torch.zeros_like(spread)], dim=3).flatten(2, 3)


class FullyConnected(Stored):
    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, rate: float = 1.0) -> None:
        # Gains come of numpy's square root there, so they are numpy's numbers.
        super().__init__(weight_gain=rate / np.sqrt(inputs), bias_gain=rate, activation="linear")
        self.weight = parameter(outputs, inputs, scale=1 / rate)
        self.bias = parameter(outputs, scale=0.3 / rate, about=bias)

    def forward(self, x: Tensor) -> Tensor:
        return x @ (self.weight * float(self.weight_gain)).T + self.bias * self.bias_gain


def unit(x: Tensor) -> Tensor:
    return x / (x.pow(2).mean(dim=1, keepdim=True) + 1e-8).sqrt()


def lrelu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)


class MappingNetwork(Stored):
    def __init__(self, z_dim: int, c_dim: int, w_dim: int, layers: int) -> None:
        super().__init__(z_dim=z_dim, c_dim=c_dim, w_dim=w_dim, num_layers=layers)
        if c_dim:
            self.embed = FullyConnected(c_dim, w_dim)
        for number in range(layers):
            inputs = w_dim if number else z_dim + (w_dim if c_dim else 0)
            setattr(self, f"fc{number}", FullyConnected(inputs, w_dim, rate=0.01))
        if z_dim:
            self.register_buffer("w_avg", torch.randn(w_dim))

    def forward(self, z: Tensor | None, c: Tensor) -> Tensor:
        parts = [] if z is None else [unit(z)]
        if self.c_dim:
            parts.append(unit(self.embed(c)))
        x = torch.cat(parts, dim=1)
        for number in range(self.num_layers):
            x = lrelu(getattr(self, f"fc{number}")(x))
        return x


def modulated(x: Tensor, weight: Tensor, styles: Tensor, demodulate: bool, up: bool) -> Tensor:
    """A kernel for each image, in a convolution of as many groups."""
    kernels = weight[None] * styles[:, None, :, None, None]
    if demodulate:
        kernels = kernels / (kernels.pow(2).sum(dim=(2, 3, 4), keepdim=True) + 1e-8).sqrt()
    count, outputs, inputs, side, _ = kernels.shape
    if up:  # a convolution turns its kernel round; F.conv2d does not
        x, kernels = F.pad(zeros_between(x), [2, 1, 2, 1]), kernels.flip([3, 4])
    else:
        x = F.pad(x, [side // 2] * 4)
    flat = kernels.reshape(count * outputs, inputs, side, side)
    x = F.conv2d(x.reshape(1, count * inputs, *x.shape[2:]), flat, groups=count)
    x = x.reshape(count, outputs, *x.shape[2:])
    return filtered(x, 1, 1, gain=4) if up else x


class SynthesisLayer(Stored):
    def __init__(
        self, inputs: int, outputs: int, w_dim: int, side: int, up: int, clamp: float | None
    ) -> None:
        super().__init__(up=up, activation="lrelu", conv_clamp=clamp, act_gain=np.sqrt(2))
        self.affine = FullyConnected(w_dim, inputs, bias=1)
        self.weight = parameter(outputs, inputs, 3, 3)
        self.register_buffer("resample_filter", torch.outer(TAPS, TAPS) / 64)
        self.register_buffer("noise_const", torch.randn(side, side))
        self.noise_strength = parameter(scale=0.2)
        self.bias = parameter(outputs, scale=0.2)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        x = modulated(x, self.weight, self.affine(w), demodulate=True, up=self.up == 2)
        x = lrelu(x + self.noise_const * self.noise_strength + self.bias[None, :, None, None])
        return x if self.conv_clamp is None else x.clamp(-self.conv_clamp, self.conv_clamp)


class ToRGBLayer(Stored):
    def __init__(self, inputs: int, w_dim: int, clamp: float | None) -> None:
        super().__init__(conv_clamp=clamp, weight_gain=1 / np.sqrt(inputs))
        self.affine = FullyConnected(w_dim, inputs, bias=1)
        self.weight = parameter(3, inputs, 1, 1)
        self.bias = parameter(3, scale=0.2)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styles = self.affine(w) * float(self.weight_gain)
        x = modulated(x, self.weight, styles, demodulate=False, up=False)
        x = x + self.bias[None, :, None, None]
        return x if self.conv_clamp is None else x.clamp(-self.conv_clamp, self.conv_clamp)


class SynthesisBlock(Stored):
    def __init__(
        self, inputs: int, outputs: int, w_dim: int, side: int, clamp: float | None
    ) -> None:
        super().__init__(in_channels=inputs, resolution=side, architecture="skip")
        self.register_buffer("resample_filter", torch.outer(TAPS, TAPS) / 64)
        if inputs:
            self.conv0 = SynthesisLayer(inputs, outputs, w_dim, side, up=2, clamp=clamp)
        else:
            self.const = parameter(outputs, side, side)
        self.conv1 = SynthesisLayer(outputs, outputs, w_dim, side, up=1, clamp=clamp)
        self.torgb = ToRGBLayer(outputs, w_dim, clamp)


def widths_of(resolution: int, base: int, most: int) -> dict[int, int]:
    sides = [2**n for n in range(2, int(math.log2(resolution)) + 1)]
    return {side: min(base // side, most) for side in sides}


class SynthesisNetwork(Stored):
    def __init__(self, w_dim: int, widths: dict[int, int], clamp: float | None) -> None:
        super().__init__(block_resolutions=list(widths), num_ws=2 * len(widths))
        before = 0
        for side, width in widths.items():
            setattr(self, f"b{side}", SynthesisBlock(before, width, w_dim, side, clamp))
            before = width

    def forward(self, w: Tensor) -> Tensor:
        image: Tensor | None = None
        x = self.b4.const[None].repeat(len(w), 1, 1, 1)
        for side in self.block_resolutions:
            block = getattr(self, f"b{side}")
            if side > 4:
                x = block.conv0(x, w)
            x = block.conv1(x, w)
            rgb = block.torgb(x, w)
            # Zeros between, two before and one after: each pixel stays where it was.
            old = None if image is None else filtered(zeros_between(image), 2, 1, gain=4)
            image = rgb if old is None else rgb + old
        assert image is not None
        return image


class PublishedGenerator(Stored):
    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        layers: int,
        widths: dict[int, int],
        clamp: float | None,
    ) -> None:
        super().__init__(z_dim=z_dim, c_dim=c_dim, w_dim=w_dim, img_channels=3)
        self.synthesis = SynthesisNetwork(w_dim, widths, clamp)
        self.mapping = MappingNetwork(z_dim, c_dim, w_dim, layers)

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        return self.synthesis(self.mapping(z, c))


class Conv2dLayer(Stored):
    def __init__(
        self, inputs: int, outputs: int, side: int, down: int = 1, bias: bool = True
    ) -> None:
        super().__init__(down=down, weight_gain=1 / np.sqrt(inputs * side**2))
        self.register_buffer("resample_filter", torch.outer(TAPS, TAPS) / 64)
        self.weight = parameter(outputs, inputs, side, side)
        self.bias = parameter(outputs, scale=0.2) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * float(self.weight_gain)
        reach = weight.shape[2] // 2
        if self.down == 2:
            x = filtered(x, 1 + reach, 1 + reach, gain=1)
            return F.conv2d(x, weight, self.bias)[:, :, ::2, ::2]
        return F.conv2d(F.pad(x, [reach] * 4), weight, self.bias)


class DiscriminatorBlock(Stored):
    def __init__(self, inputs: int, outputs: int, is_first: bool) -> None:
        super().__init__(architecture="resnet")
        if is_first:
            self.fromrgb = Conv2dLayer(3, inputs, 1)
        self.conv0 = Conv2dLayer(inputs, inputs, 3)
        self.conv1 = Conv2dLayer(inputs, outputs, 3, down=2)
        self.skip = Conv2dLayer(inputs, outputs, 1, down=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return (lrelu(self.conv1(lrelu(self.conv0(x)))) + self.skip(x)) / math.sqrt(2)


class DiscriminatorEpilogue(Stored):
    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.mbstd = Stored(group_size=4, num_channels=1)
        self.conv = Conv2dLayer(width + 1, width, 3)
        self.fc = FullyConnected(width * 16, width)
        self.out = FullyConnected(width, outputs)


class PublishedDiscriminator(Stored):
    def __init__(self, c_dim: int, widths: dict[int, int]) -> None:
        super().__init__(c_dim=c_dim)
        sides = list(widths)[::-1]
        for side, after in pairwise(sides):
            block = DiscriminatorBlock(widths[side], widths[after], is_first=side == sides[0])
            setattr(self, f"b{side}", block)
        self.b4 = DiscriminatorEpilogue(widths[4], widths[4] if c_dim else 1)
        self.sides = sides
        if c_dim:
            self.mapping = MappingNetwork(0, c_dim, widths[4], 3)

    def forward(self, images: Tensor, c: Tensor) -> Tensor:
        """Scores with the deviation taken over the whole mini-batch, as one group."""
        x = lrelu(getattr(self, f"b{self.sides[0]}").fromrgb(images))
        for side in self.sides[:-1]:
            x = getattr(self, f"b{side}")(x)
        apart = (x - x.mean(dim=0)).pow(2).mean(dim=0).add(1e-8).sqrt().mean()
        x = torch.cat([x, apart.expand(len(x), 1, 4, 4)], dim=1)
        x = self.b4.out(lrelu(self.b4.fc(lrelu(self.b4.conv(x)).flatten(1))))
        if not self.c_dim:
            return x[:, 0]
        style = self.mapping(None, c)
        return (x * style).sum(dim=1) / math.sqrt(style.shape[1])


def published(
    resolution: int = 16,
    c_dim: int = 0,
    *,
    base: int = 256,
    most: int = 24,
    z_dim: int = 20,
    w_dim: int = 28,
    layers: int = 2,
    clamp: float | None = 256,
) -> dict[str, Any]:
    """Contents of a published file."""
    torch.manual_seed(resolution + c_dim)
    widths = widths_of(resolution, base, most)
    generator = PublishedGenerator(z_dim, c_dim, w_dim, layers, widths, clamp)
    return {
        "G": None,
        "D": PublishedDiscriminator(c_dim, widths),
        "G_ema": generator,
        "augment_pipe": Stored(xflip=1.0, wavelet=np.arange(4.0)),
        "training_set_kwargs": EasyDict(path="/somewhere.zip", use_labels=c_dim > 0),
    }


def ours_from(data: bytes) -> tuple[Generator, Any]:
    config, weights, facts = read_network_pickle(data)
    network = Generator(config, Shape(facts.resolution, facts.num_styles)).eval()
    network.load_state_dict(weights)
    return network, facts


# ---------------------------------------------------------------- equal pictures


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("c_dim", [0, 3])
@torch.no_grad()
def test_pictures_equal_the_original_networks(protocol: int, c_dim: int) -> None:
    networks = published(64, c_dim)
    network, facts = ours_from(pickle.dumps(networks, protocol))
    assert (facts.resolution, facts.num_styles) == (64, c_dim)
    z, c = torch.randn(4, 20), torch.eye(max(c_dim, 1))[[0, -1, 0, -1]]
    wanted = networks["G_ema"](z, c)
    assert wanted.std() > 0.3
    assert_close(network(z, c), wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("resolution", [8, 16, 32, 128])
@pytest.mark.parametrize("layers", [1, 8])
@torch.no_grad()
def test_pictures_are_equal_at_every_size(resolution: int, layers: int) -> None:
    networks = published(resolution, layers=layers, clamp=None)
    network, _ = ours_from(pickle.dumps(networks))
    z, c = torch.randn(2, 20), torch.ones(2, 1)
    assert_close(network(z, c), networks["G_ema"](z, c), rtol=0, atol=1e-4)


@torch.no_grad()
def test_features_are_clamped_where_the_original_clamps_them() -> None:
    networks = published(clamp=0.5)
    network, _ = ours_from(pickle.dumps(networks))
    z, c = torch.randn(2, 20), torch.ones(2, 1)
    wanted = networks["G_ema"](z, c)
    unclamped, _ = ours_from(pickle.dumps(published(clamp=None)))
    assert not torch.allclose(unclamped(z, c), wanted, atol=0.05)
    assert_close(network(z, c), wanted, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("resolution", [256, 1024])
@torch.no_grad()
def test_config_f_at_its_own_size(resolution: int) -> None:
    networks = published(
        resolution, base=32768, most=512, z_dim=512, w_dim=512, layers=8, clamp=256
    )
    networks["D"] = None
    network, _ = ours_from(pickle.dumps(networks))
    z, c = torch.randn(1, 512), torch.ones(1, 1)
    assert_close(network(z, c), networks["G_ema"](z, c), rtol=0, atol=1e-4)


@pytest.mark.parametrize("c_dim", [0, 3])
@torch.no_grad()
def test_scores_equal_the_original_discriminators(c_dim: int) -> None:
    networks = published(16, c_dim)
    config, _, facts = read_network_pickle(pickle.dumps(networks))
    opponent = Discriminator(config, Shape(16, c_dim))
    opponent.load_state_dict(facts.companions["discriminator"])
    images, c = torch.randn(4, 3, 16, 16), torch.eye(max(c_dim, 1))[[0, -1, 0, -1]]
    assert_close(opponent(images, c), networks["D"](images, c), rtol=1e-4, atol=1e-4)


def test_a_discriminator_of_another_layout_is_left_out_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    networks = published(16)
    for block in ("b16", "b8"):
        del getattr(networks["D"], block).skip
    _, _, facts = read_network_pickle(pickle.dumps(networks))
    assert not facts.companions
    assert "left out: its discriminator" in caplog.text
    assert "skip.weight is missing" in caplog.text


def test_the_average_w_comes_along_and_truncation_goes_to_it() -> None:
    networks = published()
    config, weights, _ = read_network_pickle(pickle.dumps(networks))
    assert_close(weights["w_avg"], networks["G_ema"].mapping.w_avg)
    network = Generator(config, Shape(16, 1))
    network.load_state_dict(weights)
    options = Options(truncation=1e-9)
    (made,) = Sampler(network, config).sample(Request([5], torch.ones(1, 1), options))
    with torch.no_grad():
        wanted = networks["G_ema"].synthesis(networks["G_ema"].mapping.w_avg[None])[0]
    assert_close(made, wanted.clamp(-1, 1), rtol=0, atol=1e-4)


def test_half_precision_and_strided_weights_are_read_as_numbers() -> None:
    networks = published()
    generator = networks["G_ema"]
    layer = generator.synthesis.b8.conv0
    layer.weight.data = layer.weight.data.to(memory_format=torch.channels_last)
    generator.mapping.fc0.bias.data = generator.mapping.fc0.bias.data.half()
    _, weights, _ = read_network_pickle(pickle.dumps(networks))
    assert_close(weights["synthesis.layers.1.weight"], layer.weight.detach())
    half = weights["mapping.layers.0.bias"]
    assert half.dtype is torch.float32
    assert_close(half, generator.mapping.fc0.bias.detach().float())


def test_a_file_becomes_a_model_that_can_be_trained_on(tmp_path: Path) -> None:
    (tmp_path / "cats.pkl").write_bytes(pickle.dumps(published(16, 3)))
    adopted = import_pickle(tmp_path / "cats.pkl")
    assert (adopted.family, adopted.resolution, adopted.num_styles) == ("stylegan2", 16, 3)
    from components.families import FAMILIES

    config = FAMILIES["stylegan2"].config.model_validate(adopted.config | {"batch_size": 4})
    shape = Shape(adopted.resolution, 2)  # another collection: one of its styles, and a new one
    rng = torch.Generator().manual_seed(0)
    trainer = Trainer(config, shape, Machine(torch.device("cpu"), torch.float32, rng))
    trainer.start_from(adopted.weights, adopted.companions, [2, None], config)
    known = adopted.weights["mapping.embed.weight"]
    assert_close(trainer.generator.mapping.embed.weight[:, 0], known[:, 2])  # type: ignore[union-attr]
    assert_close(trainer.generator.mapping.embed.weight[:, 1], known.mean(dim=1))  # type: ignore[union-attr]
    metrics = trainer.step(torch.rand(4, 3, 16, 16) * 2 - 1, torch.tensor([0, 1, 0, 1]), 1)
    assert all(torch.isfinite(value) for value in metrics.values())


# ---------------------------------------------------------------- what is refused


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def harmful(tmp_path: Path) -> Iterator[tuple[str, bytes]]:
    import builtins
    import operator
    import os
    import subprocess

    mark = str(tmp_path / "was here")
    touch = f"touch '{mark}'"
    code = f"open({mark!r}, 'w')"
    inner = Call(os.system, touch)
    networks = published()
    yield "posix.system", pickle.dumps(inner)
    yield "builtins.eval", pickle.dumps(Call(eval, code))
    yield "builtins.exec", pickle.dumps({"G_ema": Call(exec, code)})
    yield "builtins.__import__", pickle.dumps(Call(builtins.__import__, "os"))
    yield "subprocess.Popen", pickle.dumps(networks | {"D": Call(subprocess.Popen, touch)})
    yield "posix.system", pickle.dumps(networks | {"last": inner})
    yield "torch.serialization.load", pickle.dumps(Call(torch.load, io.BytesIO(b"x")))
    yield "builtins.getattr", b"cbuiltins\ngetattr\n(cos\nsystem\ntR."
    yield "functools.partial", pickle.dumps(Call(functools.partial, os.system))
    yield "operator.attrgetter", pickle.dumps(Call(operator.attrgetter, "system"))
    yield "dnnlib.util.open_url", b"cdnnlib.util\nopen_url\n(tR."
    yield "torch_utils.persistence.eval", b"ctorch_utils.persistence\neval\n(tR."
    yield "torch._utils._rebuild_tensor", b"ctorch._utils\n_rebuild_tensor\n."
    yield "dnnlib.tflib.network.Network", b"cdnnlib.tflib.network\nNetwork\n."
    # Dotted names, with which protocol 4 walks attributes.
    yield (
        "collections.OrderedDict.__class__",
        b"\x80\x04\x8c\x0bcollections\x8c\x15" + (b"OrderedDict.__class__\x93."),
    )
    # Inside a storage, where torch would unpickle once more.
    poisoned = Call(torch.storage._load_from_bytes, pickle.dumps(inner))
    state = networks["G_ema"].mapping.fc0._parameters
    state["bias"] = Call(
        torch._utils._rebuild_tensor_v2, poisoned, 0, (28,), (1,), False, OrderedDict()
    )
    yield "posix.system", pickle.dumps(networks)


def test_no_harmful_pickle_runs_and_each_is_named(tmp_path: Path) -> None:
    for name, data in harmful(tmp_path):
        with pytest.raises(ValueError, match="not admitted") as caught:
            read_network_pickle(data)
        assert repr(name) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_calls_would_have_run_in_pickle_itself(tmp_path: Path) -> None:
    """The harmful pickles are real ones: the first writes its file when it is unpickled."""
    _, data = next(harmful(tmp_path))
    pickle.loads(data)
    assert [path.name for path in tmp_path.iterdir()] == ["was here"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "exhausted"),
        (b"\x80\x02.", "damaged"),
        (b"\x80\x02}.", "G_ema"),
        (b"\x80\x02}X\x05\x00\x00\x00G_emaNs.", "not a module"),
        (b"\x80\x02]" + b"r\xff\xff\xff\xff.", "memo place of 4294967295"),
        (b"\x80\x02]p99999999999999\n.", "memo place"),
        (b"\x80\x02\x8a\xff" + b"\x01" * 20 + b".", "not enough data"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"x.", "expected"),
        (b"\x80\x02(i__main__\nx\n.", "instruction INST"),
        (b"\x80\x02\x82\x01.", "instruction EXT1"),
        (b"\x80\x02cbuiltins\nset\n}b.", "state"),
        (b"\x80\x02U\x01xQ.", "instruction SHORT_BINSTRING"),
        (b"\x80\x02K\x01Q.", "outside the file"),
        (b"\x80\x02K\x01)R.", "no name"),
        (b"\x80\x02cbuiltins\nset\n(]tR)s.", "damaged"),
        (b"\x80\x02}))s.", "neither text"),
        (b"\x80\x02ccollections\nOrderedDict\n(K\x01tR.", "damaged"),
        (b"PK\x03\x04 a zip file", "newline"),
    ],
)
def test_what_is_no_such_network_is_refused_in_one_line(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match="not a StyleGAN2 network pickle") as caught:
        read_network_pickle(data)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tuples_in_tuples_that_cannot_be_hashed_in_a_lifetime_are_no_names() -> None:
    tuples = pickle.dumps(doubled(), 2)[2:-1]
    with pytest.raises(ValueError, match="neither text"):
        read_network_pickle(b"\x80\x02}" + tuples + b"K\x01s.")


def doubled(levels: int = 80) -> tuple[Any, ...]:
    """A tuple of two, each of two …: small in a file, endless to hash, compare or print."""
    nested: tuple[Any, ...] = ()
    for _ in range(levels):
        nested = (nested, nested)
    return nested


@pytest.mark.parametrize("place", ["class_name", "module_src", "type", "state"])
def test_endless_values_in_a_modules_description_are_refused(place: str) -> None:
    meta = {"type": "class", "class_name": "x", "module_src": "", "state": {}}
    data = pickle.dumps({"G_ema": Call(_reconstruct_persistent_obj, meta | {place: doubled()})})
    with pytest.raises(ValueError, match=r"expected|without a state"):
        read_network_pickle(data)


@pytest.mark.parametrize("name", ["conv_clamp", "activation", "bias_gain"])
def test_endless_values_in_a_layers_attributes_are_refused(name: str) -> None:
    networks = published()
    generator = networks["G_ema"]
    for module in (generator.synthesis.b4.conv1, generator.mapping.fc0):
        setattr(module, name, doubled())
    with pytest.raises(ValueError, match="expected"):
        read_network_pickle(pickle.dumps(networks))


def test_endless_values_in_numpys_numbers_are_refused() -> None:
    for call in (
        Call(np.dtype, doubled()),
        Call(np.float64(1).__reduce__()[0], doubled(), b""),
        Call(set, [doubled()]),
        Call(set, list(range(2000))),
        Call(torch.Size, list(range(2000))),
    ):
        with pytest.raises(ValueError, match=r"expected|type|neither"):
            read_network_pickle(pickle.dumps(call, 3))


def test_a_module_that_is_its_own_child_ends() -> None:
    networks = published()
    loop = networks["G_ema"].synthesis
    for number in range(30):
        loop._modules[f"again{number}"] = loop
    with pytest.raises(ValueError, match=r"more tensors|not a module"):
        read_network_pickle(pickle.dumps(networks))


def test_a_tensor_cannot_be_larger_than_its_storage() -> None:
    def expanded(size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
        networks = published()
        small = torch.zeros(28)._typed_storage()
        networks["G_ema"].mapping._buffers["w_avg"] = Call(
            torch._utils._rebuild_tensor_v2, small, offset, size, stride, False, OrderedDict()
        )
        return pickle.dumps(networks)

    assert read_network_pickle(expanded((28,), (1,)))
    for size, stride, offset in (
        ((28,), (1,), 1),
        ((28,), (2,), 0),
        ((28,), (1,), -1),
        ((2**40,), (0,), 0),
    ):
        with pytest.raises(ValueError, match=r"beyond its storage|w_dim: "):
            read_network_pickle(expanded(size, stride, offset))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda g: delattr(g.synthesis.b8, "torgb"), "b8.torgb.weight is missing"),
        (lambda g: setattr(g.synthesis.b8.conv0, "activation", "relu"), "the activation 'relu'"),
        (lambda g: setattr(g.synthesis.b8.conv0, "conv_clamp", 1.0), "clamped differently"),
        (lambda g: g.synthesis.b8.conv0.resample_filter.fill_(0.1), "filter other than"),
        (lambda g: g.mapping.fc0.weight.data.fill_(math.nan), "fc0.weight: not all"),
        (lambda g: delattr(g.synthesis, "b4"), "b4.const is missing"),
        (lambda g: setattr(g.synthesis.b16, "torgb", ToRGBLayer(16, 28, None)), "torgb.weight"),
    ],
)
def test_other_networks_are_refused_by_what_differs(change: Any, said: str) -> None:
    networks = published(base=512)
    change(networks["G_ema"])
    with pytest.raises(ValueError, match="not a StyleGAN2 network pickle") as caught:
        read_network_pickle(pickle.dumps(networks))
    assert said in str(caught.value)


@functools.cache
def small() -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        name_the_layout(patch)
        return pickle.dumps(published(8, most=4, z_dim=4, w_dim=4), 4)


@settings(max_examples=60, deadline=None)
@given(cut=st.floats(0, 1), flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255))))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(
    cut: float, flips: list[tuple[float, int]]
) -> None:
    damaged = bytearray(small()[: max(1, int(cut * len(small())))])
    for place, value in flips:
        damaged[int(place * (len(damaged) - 1))] = value
    try:
        read_network_pickle(bytes(damaged))
    except ValueError as error:
        assert "\n" not in str(error)
