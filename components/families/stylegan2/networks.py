"""Generator and discriminator of StyleGAN2, written from its papers.

StyleGAN: Karras, Laine, Aila 2018, arXiv 1812.04948 (mapping, noise, truncation). StyleGAN2: Karras
et al. 2019, arXiv 1912.04958 (modulation, skip-output generator, residual discriminator). Minibatch
deviation and equalised learning rate: Karras et al. 2017, arXiv 1710.10196, sections 3 and 4.1.
Style in both networks: Karras et al. 2020, arXiv 2006.06676.

Where a published network fixes what the papers leave open (where layers begin in w, which way a
kernel lies), it is done as there, so that published weights fit: see pickles.py.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.families.draws import Draws
from components.families.port import Shape
from components.families.stylegan2.config import StyleGAN2Config

SLOPE = 0.2
GAIN = math.sqrt(2)
"""Gain of each activation, so that variance stays (He et al. 2015, arXiv 1502.01852)."""
EPSILON = 1e-8
W_AVERAGE_KEPT = 0.998
"""Share of the average w that is kept at each step."""


def _in_float32(features: Tensor) -> AbstractContextManager[object]:
    """Compute in float32, where bfloat16 would cost accuracy and float32 costs little."""
    device = features.device.type
    if not torch.is_autocast_enabled(device):
        return nullcontext()  # tracing for export does not take the other
    return torch.autocast(device, enabled=False)


# ---------------------------------------------------------------- filtering

_TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
TAPS = 4


class Blur(torch.autograd.Function):
    """Filter each channel by [1, 3, 3, 1]/8 in rows and columns, after padding by zeros.

    The filter is symmetric, so the gradient is the same filter again, padded by the rest. A
    convolution's own second derivative, which R1 needs, is many times slower on a CPU.
    """

    @staticmethod
    def forward(ctx, features: Tensor, padding: int) -> Tensor:  # type: ignore[override]
        """(N, C, H, W) => (N, C, H + 2p - 3, W + 2p - 3); p is 0 to 3."""
        ctx.padding = padding
        return _filtered(features, padding)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        """The adjoint: pad by 3 - p and filter."""
        return blur(gradient, TAPS - 1 - ctx.padding), None  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]


def blur(features: Tensor, padding: int) -> Tensor:
    """(N, C, H, W) filtered by [1, 3, 3, 1]/8 both ways: each side is 2 × padding - 3 longer."""
    if not torch.is_grad_enabled():
        return _filtered(features, padding)  # tracing for export takes no function of ours
    return Blur.apply(features, padding)  # type: ignore[return-value]


def _filtered(features: Tensor, padding: int) -> Tensor:
    channels = features.shape[1]
    kernel = (_TAPS[:, None] * _TAPS).to(features).expand(channels, 1, TAPS, TAPS)
    with _in_float32(features):
        return F.conv2d(features, kernel, padding=padding, groups=channels)


def upsample(images: Tensor) -> Tensor:
    """(N, C, H, W) => (N, C, 2H, 2W): zeros between, then the filter, four times as strong."""
    count, channels, height, width = images.shape
    spread = images.new_zeros(count, channels, 2 * height - 1, 2 * width - 1)
    spread[:, :, ::2, ::2] = images
    return blur(spread, 2) * 4


def downsample(features: Tensor) -> Tensor:
    """(N, C, 2H, 2W) => (N, C, H, W): the filter, then each second value."""
    return blur(features, 1)[:, :, ::2, ::2]


# ---------------------------------------------------------------- layers


def activate(features: Tensor, limit: float | None = None) -> Tensor:
    """Leaky ReLU, its variance kept, and the limit where there is one."""
    features = F.leaky_relu(features, SLOPE) * GAIN
    return features if limit is None else features.clamp(-limit, limit)


def normalise(vectors: Tensor) -> Tensor:
    """Vectors (N, D) to a mean square of 1."""
    return vectors * (vectors.square().mean(dim=1, keepdim=True) + EPSILON).rsqrt()


class Linear(nn.Module):
    """x => c·W x + λ·b, with c = λ/√inputs: equalised learning rate.

    W begins as Normal(0, 1/λ), so that every weight learns as fast, λ times the rate in effect.
    """

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.rate = rate
        self.scale = rate / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.full((outputs,), float(bias)))

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs) => (N, outputs)."""
        return F.linear(features, self.weight * self.scale, self.bias * self.rate)


class Convolution(nn.Module):
    """A convolution with equalised learning rate; `down` filters and halves the sides first."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, down: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        self.down = down
        self.scale = 1 / math.sqrt(inputs * kernel**2)
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) => (N, C', H, W), or half the sides."""
        weight, bias = self.weight * self.scale, self.bias
        kernel = weight.shape[-1]
        if not self.down:
            return F.conv2d(features, weight, bias, padding=kernel // 2)
        if kernel == 1:
            return F.conv2d(downsample(features), weight, bias)
        return F.conv2d(blur(features, 2), weight, bias, stride=2)


def modulated_convolution(
    features: Tensor, weight: Tensor, styles: Tensor, *, demodulate: bool = True, up: bool = False
) -> Tensor:
    """Eq. 1 and 3 of StyleGAN2: each image's own kernel w' = s w / √(Σ (s w)² + ε).

    Features (N, C, H, W), weight (C', C, k, k), styles (N, C) => (N, C', H, W), or twice the sides.
    A convolution is linear, so s can be multiplied into what goes in and the norm out of what
    comes out (section 2.2): one dense convolution for the batch, much faster than N grouped ones.
    """
    kernel = weight.shape[-1]
    features = features * styles.to(features.dtype)[:, :, None, None]
    if up:
        features = F.conv_transpose2d(features, weight.transpose(0, 1), stride=2)
        features = blur(features, 1) * 4
    else:
        features = F.conv2d(features, weight, padding=kernel // 2)
    if demodulate:
        with _in_float32(features):
            norms = styles.square() @ weight.square().sum(dim=(2, 3)).T
            factors = (norms + EPSILON).rsqrt()
        features = features * factors.to(features.dtype)[:, :, None, None]
    return features


class Layer(nn.Module):
    """Modulated 3×3 convolution, noise, bias, activation (Fig. 2c of StyleGAN2)."""

    noise: Tensor

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, side: int, up: bool, limit: float | None
    ) -> None:
        super().__init__()
        self.up = up
        self.limit = limit
        self.scale = 1 / math.sqrt(inputs * 9)
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.zeros(side, side))

    def forward(self, features: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """Features (N, C, H, W), w (N, w_dim), noise (N or 1, 1, H', W') or none."""
        with _in_float32(features):
            styles = self.affine(w)
        weight = self.weight * self.scale
        features = modulated_convolution(features, weight, styles, up=self.up)
        if noise is not None:
            features = features + (noise * self.strength).to(features.dtype)
        features = features + self.bias.to(features.dtype)[:, None, None]
        return activate(features, self.limit)


class ToRGB(nn.Module):
    """Modulated 1×1 convolution to three channels, not demodulated."""

    def __init__(self, inputs: int, w_dim: int, limit: float | None) -> None:
        super().__init__()
        self.limit = limit
        self.scale = 1 / math.sqrt(inputs)
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.zeros(3, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, features: Tensor, w: Tensor) -> Tensor:
        """Features (N, C, H, W), w (N, w_dim) => (N, 3, H, W) float32."""
        with _in_float32(features):
            styles = self.affine(w) * self.scale
        rgb = modulated_convolution(features, self.weight, styles, demodulate=False).float()
        rgb = rgb + self.bias[:, None, None]
        return rgb if self.limit is None else rgb.clamp(-self.limit, self.limit)


# ---------------------------------------------------------------- generator


class Mapping(nn.Module):
    """z (N, latent_dim) and styles (N, K) => w (N, w_dim).

    `latent_dim` 0 maps styles alone, as the discriminator does; `num_styles` 0 maps z alone.
    """

    def __init__(
        self, latent_dim: int, num_styles: int, w_dim: int, layers: int, rate: float
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.num_styles = num_styles
        self.embed = Linear(num_styles, w_dim) if num_styles else None
        inputs = latent_dim + (w_dim if num_styles else 0)
        sizes = [inputs, *[w_dim] * layers]
        self.layers = nn.ModuleList(
            Linear(before, after, rate=rate) for before, after in pairwise(sizes)
        )

    def forward(self, z: Tensor | None, styles: Tensor) -> Tensor:
        """z and the embedded style each have a mean square of 1 before they are joined."""
        with _in_float32(styles):
            parts = [] if z is None else [normalise(z.float())]
            if self.embed is not None:
                parts.append(normalise(self.embed(styles.float())))
            features = torch.cat(parts, dim=1)
            for layer in self.layers:
                features = activate(layer(features))
            return features


class Synthesis(nn.Module):
    """ws (N, L, w_dim), a w for each layer => (N, 3, S, S): the skip-output generator (Fig. 7b)."""

    def __init__(self, config: StyleGAN2Config, resolution: int) -> None:
        super().__init__()
        widths = config.widths(resolution)
        w_dim, limit = config.w_dim, config.activation_limit
        self.constant = nn.Parameter(torch.zeros(widths[0], 4, 4))
        layers = [Layer(widths[0], widths[0], w_dim, 4, up=False, limit=limit)]
        for number, (before, after) in enumerate(pairwise(widths)):
            side = 8 * 2**number
            layers.append(Layer(before, after, w_dim, side, up=True, limit=limit))
            layers.append(Layer(after, after, w_dim, side, up=False, limit=limit))
        self.layers = nn.ModuleList(layers)
        self.to_rgb = nn.ModuleList(ToRGB(width, w_dim, limit) for width in widths)
        self.num_ws = len(layers) + 1
        """Number of w that a picture takes; each ToRGB shares that of the layer after it."""

    def constant_noise(self) -> list[Tensor]:
        """The model's own noise, (1, 1, side, side) for each layer."""
        return [layer.noise[None, None] for layer in self.layers]  # type: ignore[index]

    def random_noise(self, count: int, draws: Draws) -> list[Tensor]:
        """Fresh noise (count, 1, side, side) for each layer, drawn on the CPU."""
        shapes = [(count, 1, *layer.noise.shape) for layer in self.layers]  # type: ignore[misc]
        return [draws.normal(*shape) for shape in shapes]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]

    def forward(self, ws: Tensor, noises: Sequence[Tensor] | None) -> Tensor:
        """Pictures (N, 3, S, S) float32, about [-1, 1]; without noise where `noises` is None."""
        features = self.constant.expand(ws.shape[0], -1, -1, -1)
        features = features.contiguous(memory_format=torch.channels_last)
        images: Tensor | None = None
        for number, layer in enumerate(self.layers):
            noise = None if noises is None else noises[number]
            features = layer(features, ws[:, number], noise)
            if number % 2 == 0:  # the last layer at its side
                rgb = self.to_rgb[number // 2](features, ws[:, number + 1])
                images = rgb if images is None else upsample(images) + rgb
        assert images is not None
        return images


class Generator(nn.Module):
    """z (N, latent_dim) and styles (N, K) => images (N, 3, S, S)."""

    w_avg: Tensor

    def __init__(self, config: StyleGAN2Config, shape: Shape) -> None:
        super().__init__()
        config.check_resolution(shape.resolution)
        num_styles = shape.num_styles if config.conditional else 0
        self.mapping = Mapping(
            config.latent_dim, num_styles, config.w_dim, config.mapping_layers, config.mapping_rate
        )
        self.synthesis = Synthesis(config, shape.resolution)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    @torch.no_grad()
    def track(self, w: Tensor) -> None:
        """Move the average w towards a batch's mean (w_dim,)."""
        self.w_avg.lerp_(w, 1 - W_AVERAGE_KEPT)

    def spread(self, w: Tensor) -> Tensor:
        """One w (N, w_dim) for every layer: (N, L, w_dim)."""
        return w[:, None].expand(-1, self.synthesis.num_ws, -1)

    def forward(self, z: Tensor, styles: Tensor) -> Tensor:
        """Pictures with the model's own noise and no truncation."""
        ws = self.spread(self.mapping(z, styles))
        return self.synthesis(ws, self.synthesis.constant_noise())


# ---------------------------------------------------------------- discriminator


class Block(nn.Module):
    """Residual block that halves the sides (Fig. 7c): two 3×3 convolutions beside a 1×1 one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = Convolution(inputs, inputs, 3)
        self.second = Convolution(inputs, outputs, 3, down=True)
        self.skip = Convolution(inputs, outputs, 1, down=True, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, 2H, 2W) => (N, C', H, W); halved variances, so that the sum keeps it."""
        branch = activate(self.second(activate(self.first(features))))
        return (branch + self.skip(features)) * math.sqrt(0.5)


def minibatch_deviation(features: Tensor, group: int) -> Tensor:
    """One more channel: how far the images of a group lie apart, (N, C, H, W) => (N, C + 1, H, W).

    Groups are neighbours in the batch; the largest size up to `group` that divides it is taken.
    """
    count, channels, height, width = features.shape
    size = next(n for n in range(min(group, count), 0, -1) if count % n == 0)
    grouped = features.reshape(count // size, size, channels, height, width)
    deviation = (grouped.var(dim=1, unbiased=False) + EPSILON).sqrt().mean(dim=(1, 2, 3))
    extra = deviation.repeat_interleave(size)[:, None, None, None].expand(-1, 1, height, width)
    return torch.cat([features, extra], dim=1)


class Discriminator(nn.Module):
    """Images (N, 3, S, S) and styles (N, K) => a logit each (N,)."""

    def __init__(self, config: StyleGAN2Config, shape: Shape) -> None:
        super().__init__()
        config.check_resolution(shape.resolution)
        widths = config.widths(shape.resolution)[::-1]
        width = widths[-1]
        self.group = config.deviation_group
        self.from_rgb = Convolution(3, widths[0], 1)
        self.blocks = nn.ModuleList(Block(before, after) for before, after in pairwise(widths))
        self.mix = Convolution(width + 1, width, 3)
        self.dense = Linear(width * 16, width)
        self.end = Linear(width, width if config.conditional else 1)
        self.mapping = (
            Mapping(0, shape.num_styles, width, config.style_layers, config.mapping_rate)
            if config.conditional
            else None
        )

    def forward(self, images: Tensor, styles: Tensor) -> Tensor:
        """Logits; by projection on the mapped style where the network knows styles."""
        features = activate(self.from_rgb(images))
        for block in self.blocks:
            features = block(features)
        with _in_float32(features):
            features = minibatch_deviation(features.float(), self.group)
            features = activate(self.mix(features))
            features = self.end(activate(self.dense(features.flatten(1))))
            if self.mapping is None:
                return features.squeeze(1)
            style = self.mapping(None, styles)
            return (features * style).sum(dim=1) / math.sqrt(style.shape[1])


def initialise(network: nn.Module, rng: torch.Generator) -> None:
    """First weights from `rng`: unit normal, the mapping's by its rate; biases stay."""
    for module in network.modules():
        if isinstance(module, Linear):
            nn.init.normal_(module.weight, std=1 / module.rate, generator=rng)
        elif isinstance(module, Convolution | Layer | ToRGB):
            nn.init.normal_(module.weight, generator=rng)
        elif isinstance(module, Synthesis):
            nn.init.normal_(module.constant, generator=rng)
        if isinstance(module, Layer):
            module.noise.normal_(generator=rng)
