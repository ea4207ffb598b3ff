"""CycleGAN, read top to bottom: networks, losses, pool, trainer, sampler, other people's weights.

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

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.families.cyclegan.config import CycleGANConfig, Upsampling
from components.families.optimisers import adam, load_optimiser
from components.families.port import (
    FamilyConfig,
    FamilyOptions,
    GuidedSampler,
    Inputs,
    Shape,
    Trouble,
)

MOST_PIXELS = 4_000_000
"""Of a source. Instance normalisation looks at the whole picture, so it is turned in one piece."""

SMALLEST_SIDE = 8
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
        """Any H and W from `SMALLEST_SIDE` on."""
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
        """Each score sees (with 3 layers) 70×70 pixels."""
        return self.layers(images).squeeze(1).float()


class Generators(nn.Module):
    """Both ways."""

    def __init__(self, config: CycleGANConfig, resolution: int) -> None:
        super().__init__()
        config.check_resolution(resolution)
        self.resolution = resolution
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
    """What the two generators are told by images of one style: the fakes, and losses (N,) by name.

    'generator_loss': the other style's judge takes them for its own (eq. 1). 'cycle_loss': the way
    back leads to where it began (eq. 2). 'identity_loss': what already has the style that a
    generator leads to stays as it is (section 5.2).
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
    """From one style to the other."""

    label: int
    there: nn.Module
    back: nn.Module
    judge: nn.Module
    """Of the style that it leads to."""
    pool: ImagePool
    """Of what it made."""


SCALARS = (
    "generator_loss",
    "cycle_loss",
    "identity_loss",
    "discriminator_loss",
    "real_score",
    "fake_score",
)


class Trainer:
    """One update of both generators and one of both discriminators a step."""

    def __init__(
        self,
        config: CycleGANConfig,
        shape: Shape,
        device: torch.device,
        dtype: torch.dtype,
        rng: torch.Generator,
    ) -> None:
        if max(config.first_style, config.second_style) >= shape.num_styles:
            raise ValueError(
                f"styles {config.first_style} and {config.second_style} of a collection of "
                f"{shape.num_styles}: it needs two, each a folder of pictures"
            )
        self.config = config
        self.device = device
        self.dtype = dtype
        self.rng = rng
        self.generators = Generators(config, shape.resolution)
        self.discriminators = Discriminators(config)
        for network in (self.generators, self.discriminators):
            initialise(network, rng)
            network.to(device)
        self.network: nn.Module = self.generators
        self.optimisers = {
            name: adam(network.parameters(), config.learning_rate, betas=(0.5, 0.999))
            for name, network in self._networks().items()
        }
        pools = [ImagePool(config.pool_size, shape, device) for _ in range(2)]
        G, D = self.generators, self.discriminators
        self.ways = (
            _Way(config.first_style, G.to_second, G.to_first, D.of_second, pools[0]),
            _Way(config.second_style, G.to_first, G.to_second, D.of_first, pools[1]),
        )
        self.images_seen = 0
        self.learning_rate_scales = dict.fromkeys(self.optimisers, 1.0)
        self._newest = {name: torch.zeros((), device=device) for name in SCALARS}

    def _networks(self) -> dict[str, nn.Module]:
        return {"generators": self.generators, "discriminators": self.discriminators}

    def step(self, images: Tensor, labels: Tensor, accumulate: int) -> dict[str, Tensor]:
        """Scalars are means over the ways there were images for; else those of the last step."""
        self._anneal()
        # For each way, its images in parts; a part may be empty. Not channels last: torch takes a
        # wrong gradient of instance normalisation for one image that lies so (seen in 2.13).
        reals = [
            [
                part[where == way.label].contiguous()
                for part, where in zip(
                    images.chunk(accumulate), labels.chunk(accumulate), strict=True
                )
            ]
            for way in self.ways
        ]
        fakes = self._generator_step(reals)
        self._discriminator_step(reals, fakes)
        self.images_seen += len(images)
        return dict(self._newest)

    def _anneal(self) -> None:
        """Constant, then a straight line to 0 (section 7.1)."""
        config = self.config
        left = 1.0
        if config.decay_images:
            past = max(0, self.images_seen - config.constant_images)
            left = max(0.0, 1.0 - past / config.decay_images)
        for name, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * left * self.learning_rate_scales[name]

    def _generator_step(self, reals: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
        """Returns what was made of each part of each way's images."""
        config = self.config
        weights = {
            "generator_loss": 1.0,
            "cycle_loss": config.lambda_cycle,
            "identity_loss": config.lambda_cycle * config.lambda_identity,
        }
        self.optimisers["generators"].zero_grad(set_to_none=True)
        self.discriminators.requires_grad_(False)
        tally = _Tally()
        fakes: list[list[Tensor]] = [[], []]
        for way, parts, made in zip(self.ways, reals, fakes, strict=True):
            count = sum(map(len, parts))
            for real in filter(len, parts):
                with self._autocast():
                    fake, losses = generator_losses(real, way.there, way.back, way.judge)
                means = {name: loss.sum() / count for name, loss in losses.items()}
                torch.stack([weights[name] * mean for name, mean in means.items()]).sum().backward()
                tally.add(means)
                made.append(fake.detach())
            tally.end_of_way(count > 0)
        self.discriminators.requires_grad_(True)
        self.optimisers["generators"].step()
        self._newest |= tally.means()
        return fakes

    def _discriminator_step(
        self, reals: Sequence[Sequence[Tensor]], fakes: Sequence[Sequence[Tensor]]
    ) -> None:
        self.optimisers["discriminators"].zero_grad(set_to_none=True)
        tally = _Tally()
        for way, made, others in zip(self.ways, fakes, reals[::-1], strict=True):
            real = [part for part in others if len(part)]
            if made and real:
                fake = [way.pool.exchange(part, self.rng) for part in made]
                for name, target, parts in (("real_score", 1.0, real), ("fake_score", 0.0, fake)):
                    count = sum(map(len, parts))
                    for part in parts:
                        with self._autocast():
                            scores = way.judge(part)
                        # Halved: the discriminators shall learn slower (section 7.1).
                        loss = least_squares_loss(scores, target).sum() / count / 2
                        loss.backward()
                        mean = scores.mean(dim=(1, 2)).sum() / count
                        tally.add({"discriminator_loss": loss, name: mean})
            tally.end_of_way(bool(made and real))
        self.optimisers["discriminators"].step()
        self._newest |= tally.means()

    def _autocast(self) -> torch.autocast:
        is_reduced = self.dtype is not torch.float32
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=is_reduced)

    @torch.no_grad()
    def scores(self, images: Tensor, labels: Tensor) -> Tensor:
        """How real the judge of each image's own style finds it, (N,), its patches' mean."""
        D = self.discriminators
        first, second = (judge(images).mean(dim=(1, 2)) for judge in (D.of_first, D.of_second))
        return torch.where(labels == self.config.first_style, first, second)

    def remedy(self, trouble: Trouble) -> str:
        """Learn slower: a tenth where numbers ran away, else half; only the judges by heart."""
        factor = 0.1 if trouble in ("not a number", "divergence") else 0.5
        names = ["discriminators"] if trouble == "over-fitting" else list(self.optimisers)
        for name in names:
            self.learning_rate_scales[name] *= factor
        scales = ", ".join(f"{self.learning_rate_scales[name]:g} ({name})" for name in names)
        return f"learning rate × {scales}"

    def companions(self) -> dict[str, nn.Module]:
        """Both judges."""
        return {"discriminator": self.discriminators}

    def start_from(
        self,
        weights: Mapping[str, Tensor],
        companions: Mapping[str, Mapping[str, Tensor]],
        styles: Sequence[int | None],
        config: FamilyConfig,
    ) -> None:
        """All networks; the ways are exchanged where one leads to the other's style there."""
        before = cast(CycleGANConfig, config)
        first, second = styles[self.config.first_style], styles[self.config.second_style]
        is_exchanged = first == before.second_style or second == before.first_style
        for network, known in (
            (self.generators, weights),
            (self.discriminators, companions.get("discriminator")),
        ):
            if known is not None:
                network.load_state_dict(_exchanged(known) if is_exchanged else known)

    def state_dict(self) -> dict[str, object]:
        """Networks, optimisers, pools and counters; the noise's state is the loop's."""
        return {
            "networks": {name: n.state_dict() for name, n in self._networks().items()},
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
            "pools": [way.pool.state_dict() for way in self.ways],
            "images_seen": self.images_seen,
            "learning_rate_scales": self.learning_rate_scales,
            "newest": self._newest,
        }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from `state_dict()`."""
        known = cast(Mapping[str, Any], state)
        for name, network in self._networks().items():
            network.load_state_dict(known["networks"][name])
            load_optimiser(self.optimisers[name], known["optimisers"][name])
        for way, pool in zip(self.ways, known["pools"], strict=True):
            way.pool.load_state_dict(pool)
        self.images_seen = known["images_seen"]
        self.learning_rate_scales = dict(known["learning_rate_scales"])
        self._newest = {name: v.to(self.device) for name, v in known["newest"].items()}


class _Tally:
    """Scalars of a step: summed over parts, then the mean over the ways that had any."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.num_ways = 0

    def add(self, found: Mapping[str, Tensor]) -> None:
        for name, value in found.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach()

    def end_of_way(self, had_images: bool) -> None:
        self.num_ways += had_images

    def means(self) -> dict[str, Tensor]:
        return {name: total / self.num_ways for name, total in self.sums.items()}


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

    def sample(self, seeds: Sequence[int], styles: Tensor, options: FamilyOptions) -> Tensor:
        """Without a source: patches of colour drawn from each seed are turned, (n, 3, S, S)."""
        sources = [_patches(seed, self.network.resolution) for seed in seeds]
        turned = [
            self._turn(*pair) for pair in zip(sources, self._ways_to_first(styles), strict=True)
        ]
        return torch.stack(turned)

    def sample_from(
        self, seeds: Sequence[int], styles: Tensor, options: FamilyOptions, inputs: Inputs
    ) -> Tensor:
        """The source turned, (n, 3, H, W) of its own size, the same for every seed.

        Towards the one of the two styles of which a row has more; towards the second where it has
        as much of both. Raises `ValueError` for a source that is too small or too large, and for a
        style that is neither.
        """
        if inputs.source is None:
            return self.sample(seeds, styles, options)
        pair = [self.config.first_style, self.config.second_style]
        if not (styles[:, pair] > 0).any(dim=1).all():
            first, second = (place + 1 for place in pair)
            raise ValueError(
                f"style: this model turns between styles {first} and {second} of its "
                f"{styles.shape[1]} alone; ask for one of them"
            )
        ways = self._ways_to_first(styles)
        turned = {way: self._turn(inputs.source, way) for way in dict.fromkeys(ways)}
        return torch.stack([turned[way] for way in ways])

    def _ways_to_first(self, styles: Tensor) -> list[bool]:
        return (styles[:, self.config.first_style] > styles[:, self.config.second_style]).tolist()

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
    if min(height, width) < SMALLEST_SIDE:
        raise ValueError(
            f"source: {width}×{height} pixels are too few; each side needs {SMALLEST_SIDE}"
        )
    if height * width > MOST_PIXELS:
        raise ValueError(
            f"source: {width}×{height} pixels are over {MOST_PIXELS // 10**6} megapixels; make it "
            "smaller first"
        )


# ---------------------------------------------------------------- weights from elsewhere


_THEIR_NAME = re.compile(r"(?:module\.)?model\.(\d+)(?:\.conv_block\.(\d+))?\.(weight|bias)")
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def import_generator(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A generator trained with pytorch-CycleGAN-and-pix2pix => weights and sizes of a `Generator`.

    `state` is its plain state dict (`latest_net_G_A.pth`, read with `weights_only=True`): a ResNet
    with instance normalisation for RGB, layers named by their place, `model.N` or
    `model.N.conv_block.M`. Statistics of normalisation, which old files have, play no part. The
    sizes are the config's `channels`, `blocks` and `upsampling`. Raises `ValueError` for anything
    else.
    """
    layers: dict[tuple[int, int], dict[str, Tensor]] = {}
    for name, tensor in state.items():
        if name.endswith(_STATISTICS):
            continue
        match = _THEIR_NAME.fullmatch(name)
        if match is None or not isinstance(tensor, Tensor):
            raise ValueError(f"{name}: no layer of a ResNet generator of pytorch-CycleGAN")
        place = int(match[1]), int(match[2] or 0)
        layers.setdefault(place, {})[match[3]] = tensor.detach().float()
    places = sorted(layers)
    blocks = len({number for number, inner in places if inner})
    if [number for number, _ in places] != _their_places(blocks):
        raise ValueError(
            "not the layers of a ResNet generator with instance normalisation of pytorch-CycleGAN "
            "(those with batch normalisation or a U-Net cannot be read)"
        )
    stem = layers[places[0]].get("weight", torch.empty(0))
    if stem.ndim != 4:
        raise ValueError("model.1.weight: not a convolution's")
    sizes = {"channels": stem.shape[0], "blocks": blocks, "upsampling": "transposed"}
    # Both lay their convolutions out in the same order.
    mine = Generator(stem.shape[0], blocks, "transposed")
    names = [
        name
        for name, module in mine.named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    ]
    weights = {
        f"{name}.{kind}": tensor
        for name, place in zip(names, places, strict=True)
        for kind, tensor in layers[place].items()
    }
    if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
        raise ValueError("not all of its numbers are finite")
    try:
        mine.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise ValueError(
            f"its layers have other shapes than such a generator's: {reason}"
        ) from error
    return weights, sizes


def _their_places(blocks: int) -> list[int]:
    """Places of the convolutions among padding, normalisation and activations, blocks twice."""
    down, up = [1, 4, 7], [10 + blocks, 13 + blocks, 17 + blocks]
    return [*down, *(10 + number for number in range(blocks) for _ in range(2)), *up]


# ---------------------------------------------------------------- the family's door


def build_trainer(
    config: FamilyConfig,
    shape: Shape,
    device: torch.device,
    dtype: torch.dtype,
    rng: torch.Generator,
) -> Trainer:
    """A fresh trainer, first weights drawn from `rng`; `ValueError` for too few styles."""
    return Trainer(cast(CycleGANConfig, config), shape, device, dtype, rng)


def build_network(config: FamilyConfig, shape: Shape) -> nn.Module:
    """Both generators, their weights still to be loaded."""
    return Generators(cast(CycleGANConfig, config), shape.resolution)


def build_sampler(network: nn.Module, config: FamilyConfig) -> GuidedSampler:
    """A sampler over both generators on their device."""
    return Sampler(cast(Generators, network), cast(CycleGANConfig, config))
