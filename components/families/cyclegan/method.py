# pyright: standard
"""CycleGAN, read top to bottom: networks, losses, pool, trainer, sampler.

References: Zhu, Park, Isola, Efros 2017, arXiv 1703.10593 (cycle consistency); Mao et al. 2017,
arXiv 1611.04076 (least squares); Johnson, Alahi, Fei-Fei 2016, arXiv 1603.08155 (the generator's
layout); Isola et al. 2017, arXiv 1611.07004 (the discriminator of patches); Shrivastava et al.
2017, arXiv 1612.07828 (the pool of earlier images).

Code (paper): to_second (G), to_first (F), judges of_second (D_Y), of_first (D_X); X is the first
style, Y the second.

A batch is drawn from the whole collection, so that it holds both styles, in any numbers. No loss
needs a pair: each is a mean over the images of one style. A batch of one style alone teaches its
own way there and back; a discriminator learns only where it has both real and generated images.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.families.cyclegan.config import CycleGANConfig, Options, Upsampling
from components.families.optimisers import adam
from components.families.port import Graph, Method, NetworkT, Request, Shape, Trouble
from components.families.trainer import (
    FamilyTrainer,
    Machine,
    Scalars,
    frozen,
    parts_of,
    rate_factor,
)

MAX_PIXELS = 4_000_000
"""Largest source. Instance normalisation sees the whole picture, so it is turned in one piece."""

MIN_SIDE = 8
SLOPE = 0.2

# ---------------------------------------------------------------- networks


def _normed(convolution: nn.Module, channels: int) -> list[nn.Module]:
    return [convolution, nn.InstanceNorm2d(channels), nn.ReLU()]


class ResidualBlock(nn.Module):
    """x + f(x): two 3×3 convolutions over reflected borders, nothing after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = (
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect") for _ in range(2)
        )
        self.branch = nn.Sequential(*_normed(first, channels), second, nn.InstanceNorm2d(channels))

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) => the same shape."""
        return features + self.branch(features)


class Generator(nn.Module):
    """Images (N, 3, H, W) => images of the same size in [-1, 1] (section 7.2).

    The layers quarter the size and bring it back: other sizes are filled up by reflection, and
    what was filled is cut off again.
    """

    def __init__(self, channels: int, blocks: int, upsampling: Upsampling) -> None:
        super().__init__()
        wide, wider = 2 * channels, 4 * channels
        stem = nn.Conv2d(3, channels, 7, padding=3, padding_mode="reflect")
        self.layers = nn.Sequential(
            *_normed(stem, channels),
            *_normed(nn.Conv2d(channels, wide, 3, stride=2, padding=1), wide),
            *_normed(nn.Conv2d(wide, wider, 3, stride=2, padding=1), wider),
            *(ResidualBlock(wider) for _ in range(blocks)),
            *_normed(_doubling(wider, wide, upsampling), wide),
            *_normed(_doubling(wide, channels, upsampling), channels),
            nn.Conv2d(channels, 3, 7, padding=3, padding_mode="reflect"),
            nn.Tanh(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Any H and W from `MIN_SIDE` on."""
        height, width = images.shape[2:]
        return self.layers(to_multiple_of_four(images))[:, :, :height, :width]


def _doubling(inputs: int, outputs: int, upsampling: Upsampling) -> nn.Module:
    """(N, inputs, H, W) => (N, outputs, 2H, 2W).

    The paper's transposed convolution overlaps unevenly, which leaves a grid over the picture;
    repeated pixels and a convolution do not (Odena, Dumoulin, Olah 2016).
    """
    if upsampling == "transposed":
        return nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), convolution)


def to_multiple_of_four(images: Tensor) -> Tensor:
    """(N, C, H, W) with the right and lower border reflected up to multiples of 4."""
    height, width = images.shape[2:]
    if not (-height % 4 or -width % 4):
        return images
    return F.pad(images, (0, -width % 4, 0, -height % 4), mode="reflect")


class Discriminator(nn.Module):
    """Images (N, 3, H, W) => a score for each patch, (N, h, w)."""

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        widths = [min(channels * 2**n, channels * 8) for n in range(layers + 1)]
        stages: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, stride=2, padding=1)]
        for number in range(1, len(widths)):
            stride = 2 if number < layers else 1
            stages += [
                nn.LeakyReLU(SLOPE),
                nn.Conv2d(widths[number - 1], widths[number], 4, stride=stride, padding=1),
                nn.InstanceNorm2d(widths[number]),
            ]
        self.layers = nn.Sequential(
            *stages, nn.LeakyReLU(SLOPE), nn.Conv2d(widths[-1], 1, 4, padding=1)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Score the images; with 3 layers, each score sees 70×70 pixels."""
        return self.layers(images).squeeze(1).float()


class Generators(nn.Module):
    """Both ways."""

    def __init__(self, config: CycleGANConfig, shape: Shape) -> None:
        super().__init__()
        config.check_resolution(shape.resolution)
        self.resolution = shape.resolution
        sizes = config.channels, config.blocks, config.upsampling
        self.to_second = Generator(*sizes)
        self.to_first = Generator(*sizes)


class Discriminators(nn.Module):
    """A judge for each style."""

    def __init__(self, config: CycleGANConfig) -> None:
        super().__init__()
        sizes = config.discriminator_channels, config.discriminator_layers
        self.of_first = Discriminator(*sizes)
        self.of_second = Discriminator(*sizes)


def initialise(network: nn.Module, rng: torch.Generator) -> None:
    """First weights from Normal(0, 0.02) (section 7.2), by `rng`; biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02, generator=rng)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


# ---------------------------------------------------------------- losses: one number an image


def least_squares_loss(scores: Tensor, target: float) -> Tensor:
    """(D - target)², the mean over an image's patches: section 4.1; (N, h, w) => (N,)."""
    return (scores - target).square().mean(dim=(1, 2))


def absolute_difference(first: Tensor, second: Tensor) -> Tensor:
    """|first - second|, the mean over an image's pixels: eq. 2; (N, 3, H, W) => (N,)."""
    return (first - second).abs().mean(dim=(1, 2, 3))


Paint = Callable[[Tensor], Tensor]
"""(N, 3, H, W) => (N, 3, H, W)."""


def generator_losses(
    real: Tensor, there: Paint, back: Paint, judge: Callable[[Tensor], Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The fakes and the losses (N,) by name of both generators, for images of one style.

    'generator_loss': the other style's judge takes them for its own (eq. 1). 'cycle_loss': the way
    back leads to where it began (eq. 2). 'identity_loss': an image that already has
    the style that a generator leads to stays as it is (section 5.2).
    """
    fake = there(real)
    # Together: one pass over twice the images is quicker, and each is normalised for itself.
    cycled, same = back(torch.cat([fake, real])).float().chunk(2)
    return fake, {
        "generator_loss": least_squares_loss(judge(fake), 1.0),
        "cycle_loss": absolute_difference(cycled, real),
        "identity_loss": absolute_difference(same, real),
    }


# ---------------------------------------------------------------- the pool


class ImagePool:
    """Earlier generated images, so that a discriminator does not forget them (1612.07828, 2.3)."""

    def __init__(self, size: int, shape: Shape, device: torch.device) -> None:
        self.images = torch.zeros(size, 3, shape.resolution, shape.resolution, device=device)
        self.count = 0

    def exchange(self, fresh: Tensor, rng: torch.Generator) -> Tensor:
        """Images (N, 3, S, S) to learn from: until the pool is full, the fresh ones.

        Later each is, by even chance, itself or an earlier one, whose place it takes.
        """
        given = fresh.float().clone()
        size = len(self.images)
        for place in range(len(fresh)):
            if self.count < size:
                self.images[self.count] = given[place]
                self.count += 1
            elif size and float(torch.rand((), generator=rng)) < 0.5:
                earlier = int(torch.randint(size, (), generator=rng))
                kept = self.images[earlier].clone()
                self.images[earlier] = given[place]
                given[place] = kept
        return given

    def state_dict(self) -> dict[str, object]:
        """The images, and how many there are."""
        return {"images": self.images[: self.count], "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.count = state["count"]
        self.images[: self.count] = state["images"]


# ---------------------------------------------------------------- trainer


class _Way(NamedTuple):
    """Way from one style to the other."""

    label: int
    there: nn.Module
    back: nn.Module
    judge: nn.Module
    """Judge of the style that it leads to."""
    pool: ImagePool
    """Pool of the pictures that it made."""


SCALARS = (
    "generator_loss",
    "cycle_loss",
    "identity_loss",
    "discriminator_loss",
    "real_score",
    "fake_score",
)


class Trainer(FamilyTrainer[CycleGANConfig]):
    """One update of both generators and one of both discriminators a step."""

    counters = ("pools", "images_seen", "learning_rate_scales", "newest")

    def __init__(self, config: CycleGANConfig, shape: Shape, machine: Machine) -> None:
        if max(config.first_style, config.second_style) >= shape.num_styles:
            raise ValueError(
                f"styles {config.first_style} and {config.second_style} of a collection of "
                f"{shape.num_styles}: it needs two, each a folder of pictures"
            )
        super().__init__(config, shape, machine)
        G = self.generators = self._new("generators", Generators(config, shape))
        D = self.discriminators = self._new("discriminators", Discriminators(config))
        self.network = self.generators
        first, second = (ImagePool(config.pool_size, shape, machine.device) for _ in range(2))
        self.pools = (first, second)
        self.ways = (
            _Way(config.first_style, G.to_second, G.to_first, D.of_second, first),
            _Way(config.second_style, G.to_first, G.to_second, D.of_first, second),
        )
        self.images_seen = 0
        self.learning_rate_scales = dict.fromkeys(self.optimisers, 1.0)
        self.newest = {name: torch.zeros((), device=machine.device) for name in SCALARS}

    def _new(self, name: str, network: NetworkT) -> NetworkT:
        initialise(network, self.machine.rng)
        optimiser = partial(adam, learning_rate=self.config.learning_rate, betas=(0.5, 0.999))
        # Not channels last: torch takes a wrong gradient of instance normalisation for one image
        # that lies so (seen in 2.13).
        return self.add(name, network, optimiser, torch.preserve_format)

    def step(self, images: Tensor, labels: Tensor, accumulate: int) -> Scalars:
        """Scalars are means over the ways there were images for; else those of the last step."""
        self._anneal()
        # For each way, its images in parts; a part may be empty.
        parts = parts_of(accumulate, images, labels)
        reals = [
            [part[where == way.label].contiguous() for part, where in parts] for way in self.ways
        ]
        with self.update("generators"), frozen(self.discriminators):
            fakes = self._teach_generators(reals)
        with self.update("discriminators"):
            self._teach_discriminators(reals, fakes)
        self.images_seen += self.count_of(images)
        return dict(self.newest)

    def _anneal(self) -> None:
        """Constant, then a straight line to 0 (section 7.1)."""
        config = self.config
        left = 1.0
        if config.decay_images:
            past = max(0, self.images_seen - config.constant_images)
            left = max(0.0, 1.0 - past / config.decay_images)
        for name, scale in self.learning_rate_scales.items():
            self.set_learning_rate(name, config.learning_rate * left * scale)

    def _teach_generators(self, reals: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
        """Returns what was made of each part of each way's images."""
        config = self.config
        weights = {
            "generator_loss": 1.0,
            "cycle_loss": config.lambda_cycle,
            "identity_loss": config.lambda_cycle * config.lambda_identity,
        }
        tally = _Tally(self.machine, SCALARS[:3])
        fakes: list[list[Tensor]] = [[], []]
        for way, parts, made in zip(self.ways, reals, fakes, strict=True):
            count = self._mean_count(parts)
            for real in parts:
                if not len(real):
                    made.append(real)  # of no images, none
                    continue
                with self.machine.autocast():
                    fake, losses = generator_losses(real, way.there, way.back, way.judge)
                means = {name: loss.sum() / count for name, loss in losses.items()}
                torch.stack([weights[name] * mean for name, mean in means.items()]).sum().backward()
                tally.add(means)
                made.append(fake.detach().float())
            tally.end_of_way(count > 0)
        self.newest |= tally.means()
        return fakes

    def _teach_discriminators(
        self, reals: Sequence[Sequence[Tensor]], fakes: Sequence[Sequence[Tensor]]
    ) -> None:
        tally = _Tally(self.machine, SCALARS[3:])
        for way, made, others in zip(self.ways, fakes, reals[::-1], strict=True):
            has_both = self._mean_count(made) > 0 and self._mean_count(others) > 0
            if has_both:
                fake = [self._pooled(way.pool, part) for part in made]
                self._judge(way, "real_score", 1.0, others, tally)
                self._judge(way, "fake_score", 0.0, fake, tally)
            tally.end_of_way(has_both)
        self.newest |= tally.means()

    def _mean_count(self, parts: Sequence[Tensor]) -> float:
        """Number of images that all parts have, the ranks' mean."""
        count = torch.tensor(float(sum(map(len, parts))), device=self.machine.device)
        return float(self.machine.ranks.mean(count))

    def _pooled(self, pool: ImagePool, fresh: Tensor) -> Tensor:
        """Images from the pool in place of these; every rank keeps the same pool, of all images."""
        everyones = self.machine.ranks.gather(fresh)
        given = pool.exchange(torch.cat(everyones), self.machine.rng)
        return given.split([len(part) for part in everyones])[self.machine.ranks.index]

    def _judge(
        self, way: _Way, name: str, target: float, parts: Sequence[Tensor], tally: "_Tally"
    ) -> None:
        """Teach a way's judge that images are real (target 1) or generated (0)."""
        count = self._mean_count(parts)
        for part in filter(len, parts):
            with self.machine.autocast():
                scores = way.judge(part)
            # Halved, so that the discriminators learn more slowly (section 7.1).
            loss = least_squares_loss(scores, target).sum() / count / 2
            loss.backward()
            tally.add({"discriminator_loss": loss, name: scores.mean(dim=(1, 2)).sum() / count})

    @torch.no_grad()
    def scores(self, images: Tensor, labels: Tensor) -> Tensor:
        """Scores (N,) by the judge of each image's own style, means over its patches."""
        D = self.discriminators
        first, second = (judge(images).mean(dim=(1, 2)) for judge in (D.of_first, D.of_second))
        return torch.where(labels == self.config.first_style, first, second)

    def remedy(self, trouble: Trouble) -> str:
        """Learn slower; only the judges against over-fitting."""
        names = ["discriminators"] if trouble == "over-fitting" else list(self.optimisers)
        for name in names:
            self.learning_rate_scales[name] *= rate_factor(trouble)
        scales = ", ".join(f"{self.learning_rate_scales[name]:g} ({name})" for name in names)
        return f"learning rate × {scales}"

    def companions(self) -> dict[str, nn.Module]:
        """Both judges."""
        return {"discriminator": self.discriminators}

    def first_weights(
        self,
        weights: Mapping[str, Tensor],
        styles: Sequence[int | None],
        config: CycleGANConfig,
    ) -> Mapping[str, Tensor]:
        """Exchange the ways where one leads to the other's style in the trained network."""
        first, second = styles[self.config.first_style], styles[self.config.second_style]
        is_exchanged = first == config.second_style or second == config.first_style
        return _exchanged(weights) if is_exchanged else weights


class _Tally:
    """Scalars of a step: summed over parts, then the mean over the ways that had any."""

    def __init__(self, machine: Machine, names: Sequence[str]) -> None:
        self.ranks = machine.ranks
        self.sums = {name: torch.zeros((), device=machine.device) for name in names}
        self.num_ways = 0

    def add(self, found: Scalars) -> None:
        for name, value in found.items():
            self.sums[name] += value.detach()

    def end_of_way(self, had_images: bool) -> None:
        self.num_ways += had_images

    def means(self) -> Scalars:
        """Means over the whole batch; none where no way had images."""
        if not self.num_ways:
            return {}
        return {name: s / self.num_ways for name, s in self.ranks.means(self.sums).items()}


def _exchanged(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same networks, first and second style with their roles exchanged."""
    other = {"to_first": "to_second", "to_second": "to_first"}
    other |= {"of_first": "of_second", "of_second": "of_first"}
    parted = ((name.partition("."), tensor) for name, tensor in weights.items())
    return {f"{other[side]}.{rest}": tensor for (side, _, rest), tensor in parted}


# ---------------------------------------------------------------- sampler


class Sampler:
    """Turns a source towards the style asked for; the seed plays no part in it."""

    def __init__(self, network: Generators, config: CycleGANConfig) -> None:
        self.network = network.eval()
        self.config = config
        self.device = next(network.parameters()).device

    def sample(self, request: Request[Options]) -> Tensor:
        """Turn the source, (n, 3, H, W) of its own size, the same for every seed.

        Towards the one of the two styles of which a row has more; towards the second where it has
        as much of both. Without a source, patches of colour drawn from each seed are turned,
        (n, 3, S, S). Raises `ValueError` for a source that is too small or too large, and for a
        style that is neither.
        """
        styles, source = request.styles, request.inputs.source
        ways = (styles[:, self.config.first_style] > styles[:, self.config.second_style]).tolist()
        if source is None:
            sources = [_patches(seed, self.network.resolution) for seed in request.seeds]
            return torch.stack([self._turn(*pair) for pair in zip(sources, ways, strict=True)])
        self._check(styles)
        turned = {way: self._turn(source, way) for way in dict.fromkeys(ways)}
        return torch.stack([turned[way] for way in ways])

    def _check(self, styles: Tensor) -> None:
        pair = [self.config.first_style, self.config.second_style]
        if not (styles[:, pair] > 0).any(dim=1).all():
            first, second = (place + 1 for place in pair)
            raise ValueError(
                f"style: this model turns between styles {first} and {second} of its "
                f"{styles.shape[1]} alone; ask for one of them"
            )

    @torch.no_grad()
    def _turn(self, source: Tensor, is_to_first: bool) -> Tensor:
        """(3, H, W) => (3, H, W); alone, so that no picture depends on others beside it."""
        _check_size(*source.shape[1:])
        generator = self.network.to_first if is_to_first else self.network.to_second
        return generator(source[None].to(self.device))[0].float().cpu()


def _patches(seed: int, side: int) -> Tensor:
    """Soft patches of colour (3, side, side) in [-1, 1]."""
    colours = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return F.interpolate(colours, (side, side), mode="bilinear", align_corners=False)[0]


def _check_size(height: int, width: int) -> None:
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"source: {width}×{height} pixels are too few; each side needs {MIN_SIDE}")
    if height * width > MAX_PIXELS:
        raise ValueError(
            f"source: {width}×{height} pixels are over {MAX_PIXELS // 10**6} megapixels; make it "
            "smaller first"
        )


# ---------------------------------------------------------------- export


def build_graphs(network: Generators, config: CycleGANConfig, shape: Shape) -> dict[str, Graph]:
    """Pictures of one style => of the other, each way, at the size they were learnt at."""
    inputs = {"picture": ("N", 3, shape.resolution, shape.resolution)}
    ways = {"to_second": network.to_second, "to_first": network.to_first}
    return {name: Graph(way, inputs) for name, way in ways.items()}


METHOD = Method(Trainer, Generators, Sampler, build_graphs)
