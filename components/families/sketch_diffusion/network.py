# pyright: standard
"""The U-Net that cleans pictures of noise, given style, intensity and strokes.

Ronneberger, Fischer, Brox 2015, arXiv 1505.04597, with residual blocks modulated by the noise as
Ho, Jain, Abbeel 2020 (arXiv 2006.11239) and Dhariwal, Nichol 2021 (arXiv 2105.05233) have it. What
is ours is for CPUs: patches of 2×2 pixels (four times fewer positions), one normalisation a block,
over channels (in channels_last a tenth of a convolution's time, group normalisation a half), skips
that are added, halving by averages (a stride of 2 is thirty times slower in bfloat16's backward),
and attention at small features alone.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.families.port import Shape
from components.families.sketch_diffusion.config import SketchDiffusionConfig
from components.families.sketch_diffusion.works import Works

EMBEDDING = 256
FREQUENCIES = 16
HEAD = 64
DETAIL_AREA = 4
"""Pixels of which a level of detail knows the average."""

PICTURE_STD = 0.5
"""Standard deviation of pixels in [-1, 1], for the estimate that the network improves on."""
DETAIL_STD = 0.1
"""The same of what a pixel has beside the average of its 2×2, in an orthonormal basis.

0.106 in the paintings that the shipped models learnt from.
"""


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation of each position's channels (Ba, Kiros, Hinton 2016, 1607.06450)."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) => the same shape."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """x + f(x, e): two 3×3 convolutions, the first's channels scaled and shifted by e."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulation = nn.Linear(EMBEDDING, 2 * channels)
        self.last = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        """(N, C, H, W) and (N, EMBEDDING) => (N, C, H, W)."""
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        inner = self.first(F.silu(self.norm(features)))
        return features + self.last(F.silu(torch.addcmul(shift, inner, 1 + scale)))


class Attention(nn.Module):
    """x + attention over all positions (Vaswani et al. 2017, arXiv 1706.03762)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // HEAD)
        self.norm = ChannelNorm(channels)
        self.inputs = nn.Conv2d(channels, 3 * channels, 1)
        self.last = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        """(N, C, H, W) => the same shape; the embedding is not used."""
        height, width = features.shape[2:]
        positions = self.inputs(self.norm(features)).flatten(2).transpose(1, 2)  # (N, HW, 3C)
        split = positions.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        found = self._attend(*split.unbind(0))  # (N, heads, HW, C/heads)
        found = found.permute(0, 2, 1, 3).flatten(2)  # (N, HW, C)
        found = found.unflatten(1, (height, width)).permute(0, 3, 1, 2)  # channels last as it is
        return features + self.last(found)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(queries, keys, values)


class PlainAttention(Attention):
    """The same sums as two products: on CPUs in two thirds of the fused kernel's time."""

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        products = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])
        return products.softmax(dim=-1) @ values


class Detail(nn.Module):
    """A level for the detail of pictures twice as large as those that a denoiser cleans.

    Detail is what a picture has beside its averages over 2×2 pixels; the denoiser cleans those, and
    this sees the large picture under noise, the denoiser's estimate and its last features. Averages
    and detail apart: Guth et al. 2022, arXiv 2208.05003; noise by resolution: Hoogeboom, Heek,
    Salimans 2023, arXiv 2301.11093. That both are one network and one sampler's way is ours.
    """

    def __init__(self, config: SketchDiffusionConfig, features: int, num_hints: int) -> None:
        super().__init__()
        channels = config.detail_channels
        self.stem = nn.Conv2d((6 + num_hints) * DETAIL_AREA, channels, 3, padding=1)
        self.widen = nn.Conv2d(features, channels, 1)
        self.blocks = nn.ModuleList(Block(channels) for _ in range(config.detail_blocks))
        self.last = nn.Conv2d(channels, 3 * DETAIL_AREA, 3, padding=1)

    def forward(self, inputs: Tensor, features: Tensor, embedding: Tensor) -> Tensor:
        """(N, 6 + H, S, S), features (N, C, s, s) and (N, EMBEDDING) => (N, 3, S, S)."""
        found = F.pixel_unshuffle(inputs, 2).contiguous(memory_format=torch.channels_last)
        side = found.shape[-1]
        found = self.stem(found) + F.interpolate(self.widen(features), (side, side))
        for block in self.blocks:
            found = block(found, embedding)
        return F.pixel_shuffle(self.last(found), 2)


def _constant_noise(side: int) -> Tensor:
    """Paper 004: «a background of evenly spread constant noise» (3, side, side).

    One draw for all pictures; it goes with the weights, since a number generator's promises end
    with its version. Its seed is none that a picture can have, whose noise would vanish in it.
    """
    draw = torch.Generator().manual_seed(-1)
    return torch.randn(3, side, side, generator=draw)


class Denoiser(nn.Module):
    """A picture under noise => the picture, as its mean over all that it may be.

    The target is x0, through a linear estimate: for pictures of standard deviation σ around 0, the
    best linear guess at x0 from (1-t) x0 + t ε is c_skip times it, and errs by c_out. The network
    gives that error in units of c_out, so that its target has variance 1 at every intensity (the
    reasoning of Karras et al. 2022, arXiv 2206.00364, section 5, for this path). Why x0: the
    paper's mask replaces pixels by a constant, from which no velocity and no noise can be told but
    x0 can; clamping and guidance need it as well. Why not bare: at weak noise the network would
    have to copy its input, which the skip does for it.
    """

    noise: Tensor

    def __init__(self, config: SketchDiffusionConfig, shape: Shape) -> None:
        super().__init__()
        config.check_resolution(shape.resolution)
        self.patch = config.patch
        self.num_hints = 2 if config.conditioning == "guided" else 0
        side = config.inner_resolution(shape.resolution) // config.patch
        halvings = max(0, math.ceil(math.log2(side / config.smallest)))
        widths = [min(config.channels * 2**n, config.max_channels) for n in range(halvings + 1)]
        attends = [side // 2**n <= config.largest_attention for n in range(halvings)]

        def blocks(width: int, attends: bool = False) -> nn.ModuleList:
            each = (Block, PlainAttention) if attends else (Block,)
            return nn.ModuleList(kind(width) for _ in range(config.blocks) for kind in each)

        self.style = nn.Linear(shape.num_styles, EMBEDDING, bias=False)
        self.level = nn.Linear(2 * FREQUENCIES, EMBEDDING)
        self.embedding = nn.Linear(EMBEDDING, EMBEDDING)
        area = config.patch**2
        self.stem = nn.Conv2d((3 + self.num_hints) * area, widths[0], 3, padding=1)
        self.down = nn.ModuleList(map(blocks, widths, [*attends, False]))
        self.narrow = nn.ModuleList(
            nn.Conv2d(wide, next_wide, 1) for wide, next_wide in pairwise(widths)
        )
        self.middle = nn.ModuleList()
        for _ in range(config.middle):
            self.middle.extend([Attention(widths[-1]), *blocks(widths[-1])])
        self.middle.append(Attention(widths[-1]))
        self.skips = nn.ModuleList(nn.Conv2d(width, width, 1) for width in widths[:-1])
        self.widen = nn.ModuleList(
            nn.Conv2d(next_wide, wide, 1) for wide, next_wide in pairwise(widths)
        )
        self.up = nn.ModuleList(map(blocks, widths[:-1], attends))
        # Without a normalisation, which would take each position's amplitude: the noise must get
        # through to be taken away.
        self.last = nn.Conv2d(widths[0], 3 * area, 3, padding=1)
        self.register_buffer("noise", _constant_noise(shape.resolution))
        self.works = Works(EMBEDDING) if config.representation != "none" else None
        self.detail: Detail | None = None
        if config.detail_channels:
            self.detail = Detail(config, widths[0], self.num_hints)

    def forward(
        self,
        noisy: Tensor,
        t: Tensor,
        styles: Tensor,
        mask: Tensor,
        hints: Tensor,
        codes: Tensor | None = None,
    ) -> Tensor:
        """Pictures under noise => estimates of x0 (N, 3, S, S), float32.

        `noisy` (N, 3, S, S) is (1-t) x0 + t ε where `mask` (N, 1, S, S) is 1, `t` (N,) in (0, 1];
        elsewhere it holds nothing of x0. `styles` (N, K): rows summing to 1, or 0 for any style.
        `hints` (N, H, S, S): what is shown of the strokes, all 0 for none; H is 0 or 2. `codes`
        (N, 64): what the pictures are like, rows of 0 or None for no such word.
        """
        if self.detail is None:
            return self._clean(noisy, t, mask, hints, self._embedding(t, styles, codes))[0]
        # Averages over 2×2 pixels hold half the noise; scaled, they are a picture under less of it.
        averages, rest = _apart(noisy)
        level = half_as_noisy(t)
        embedding = self._embedding(level, styles, codes)
        seen = averages / (1 - t / 2)[:, None, None, None]
        masks, small_hints = F.avg_pool2d(mask, 2), F.avg_pool2d(hints, 2)
        small, features = self._clean(seen, level, masks, small_hints, embedding)
        small = F.interpolate(small, scale_factor=2)
        c_skip, c_out, c_in = estimate(t[:, None, None, None], DETAIL_STD)
        inputs = torch.cat([rest * c_in, small, hints], dim=1)
        return small + c_skip * rest + c_out * self.detail(inputs, features, embedding).float()

    def in_units(self, errors: Tensor, t: Tensor, mask: Tensor) -> Tensor:
        """Errors of estimates (N, 3, S, S), in units of the linear estimate's own."""
        if self.detail is None:
            return errors / estimate(_level(t, mask))[1]
        averages, rest = _apart(errors)
        t = t[:, None, None, None]
        in_averages = F.interpolate(averages, scale_factor=2) / estimate(half_as_noisy(t))[1]
        return in_averages + rest / estimate(t, DETAIL_STD)[1]

    def _embedding(self, t: Tensor, styles: Tensor, codes: Tensor | None) -> Tensor:
        told = self.level(waves(t)) + self.style(styles)
        if self.works is not None and codes is not None:
            told = told + self.works(codes)
        return F.silu(self.embedding(F.silu(told)))

    def _clean(
        self, noisy: Tensor, t: Tensor, mask: Tensor, hints: Tensor, embedding: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Estimates of x0 (N, 3, S, S), float32, and the features behind them."""
        c_skip, c_out, c_in = estimate(_level(t, mask))
        features = self._features(torch.cat([noisy * c_in, hints], dim=1), embedding)
        improved = F.pixel_shuffle(self.last(features), self.patch)
        return c_skip * noisy + c_out * improved.float(), features

    def _features(self, inputs: Tensor, embedding: Tensor) -> Tensor:
        features = F.pixel_unshuffle(inputs, self.patch)
        features = self.stem(features.contiguous(memory_format=torch.channels_last))
        kept: list[Tensor] = []
        for place, blocks in enumerate(self.down):
            if place > 0:
                features = F.avg_pool2d(self.narrow[place - 1](features), 2)
            for block in blocks:  # type: ignore[union-attr]
                features = block(features, embedding)
            kept.append(features)
        for block in self.middle:
            features = block(features, embedding)
        for place in reversed(range(len(self.up))):
            features = F.interpolate(self.widen[place](features), scale_factor=2)
            features = features + self.skips[place](kept[place])
            for block in self.up[place]:  # type: ignore[union-attr]
                features = block(features, embedding)
        return features


def estimate(t: Tensor, std: float = PICTURE_STD) -> tuple[Tensor, Tensor, Tensor]:
    """c_skip, c_out, c_in at noise t in (0, 1]: the best linear guess, its error, unit variance.

    `std` is the standard deviation of what lies under the noise.
    """
    variance = ((1 - t) * std).square() + t.square()
    return (1 - t) * std**2 / variance, t * std * variance.rsqrt(), variance.rsqrt()


def _level(t: Tensor, mask: Tensor) -> Tensor:
    """Noise of each pixel (N, 1, S, S): t (N,) where the mask is 1, all where it is 0."""
    return 1 + mask * (t[:, None, None, None] - 1)


def _apart(images: Tensor) -> tuple[Tensor, Tensor]:
    """Averages over 2×2 pixels (N, 3, S/2, S/2), and what the pixels have beside them."""
    averages = F.avg_pool2d(images, 2)
    return averages, images - F.interpolate(averages, scale_factor=2)


def half_as_noisy(t: Tensor) -> Tensor:
    """Noise t whose ratio t/(1-t) of noise to picture is half as large."""
    return t / (2 - t)


def waves(t: Tensor) -> Tensor:
    """Noise (N,) in [0, 1] => sines and cosines (N, 2·FREQUENCIES)."""
    angles = t[:, None] * torch.arange(1, FREQUENCIES + 1, device=t.device) * math.pi
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def initialise(network: Denoiser, rng: torch.Generator) -> None:
    """First weights from `rng`: He normal, biases 0, a unit Gaussian for each style.

    Every residual branch, every modulation and the output begin at 0: the network begins as the
    linear estimate, its blocks as the identity.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, 0.0, 1 / math.sqrt(fan_in), generator=rng)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.normal_(network.style.weight, generator=rng)
    for module in network.modules():
        if isinstance(module, Block | Attention | Denoiser | Detail | Works):
            nn.init.zeros_(module.last.weight)
        if isinstance(module, Block):
            nn.init.zeros_(module.modulation.weight)


def residual_branches(network: Denoiser) -> dict[str, Tensor]:
    """The weights of all that adds to what is there, by their names in the network.

    Blocks, attentions, the level of detail, and the layers that tell what a picture is like.
    """
    return {
        f"{place}.{name}": weight
        for place, module in network.named_modules()
        if isinstance(module, Block | Attention | Detail | Works)
        for name, weight in module.state_dict().items()
    }
