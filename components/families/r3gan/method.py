"""R3GAN, read top to bottom: networks, losses, trainer, sampler.

Reference: Huang, Gokaslan, Kuleshov, Tompkin 2024, "The GAN is dead; long live the GAN!",
arXiv 2501.05441: the relativistic pairing loss with zero-centred penalties on both sides (R1 and
R2), and plain residual networks without normalisation. Written from the paper. What is ours:
penalties every few steps (lazily, Karras et al. 2020, arXiv 1912.04958, appendix B), one draw of
generated images for both updates, in which the generator measures itself
against the scores that the discriminator has just given real images; and a discriminator that
begins with 4×4 patches at stride 2.
"""

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.families.augment import augment
from components.families.optimisers import adam
from components.families.port import Graph, Method, NetworkT, Request, Shape, Trouble
from components.families.r3gan.config import Augmentation, Options, R3GANConfig
from components.families.sampling import draw_latents, in_fixed_batches
from components.families.trainer import (
    FamilyTrainer,
    Machine,
    Scalars,
    frozen,
    parts_of,
    rate_factor,
)

STYLE_DIM = 64
SLOPE = 0.2
PENALTIES = ("r1_penalty", "r2_penalty")
"""Scalars of the steps at which they are due; in between, the last ones are reported."""
STRONGER: dict[Augmentation, Augmentation] = {"none": "flip", "flip": "light", "light": "full"}
"""The augmentation that a remedy puts in place of each."""

# ---------------------------------------------------------------- networks


class Convolution(nn.Conv2d):
    """Without bias, keeping the size; `initialise` draws its weights times `gain`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, gain: float = 1.0) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=False)  # pyright: ignore[reportUnknownMemberType]
        self.gain = gain


class BiasedActivation(nn.Module):
    """x => leaky ReLU(x + b), a bias for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) => the same shape."""
        bias = self.bias.to(features.dtype)[:, None, None]
        return F.leaky_relu(features + bias, SLOPE)


class ResidualBlock(nn.Module):
    """x + f(x), f two 3×3 convolutions (section 3, "config C").

    Without normalisation it begins as the identity (the last weights are zero) and the other
    weights are scaled by the network's depth, after Fixup (Zhang et al. 2019, arXiv 1901.09321).
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            BiasedActivation(channels),
            Convolution(channels, channels, 3, gain=depth**-0.5),  # L^(-1/(2m-2)), m = 2
            BiasedActivation(channels),
            Convolution(channels, channels, 3, gain=0.0),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) => the same shape."""
        return features + self.branch(features)


def _widths(config: R3GANConfig, resolution: int) -> list[int]:
    """Channels at sides 4, 8, … S/2: `channels` at S/2, doubled below, never over the maximum."""
    halvings = int(math.log2(resolution / 8))
    doubled = [config.channels * 2**n for n in reversed(range(halvings + 1))]
    return [min(width, config.max_channels) for width in doubled]


class Generator(nn.Module):
    """z (N, latent_dim) and styles (N, K) => images (N, 3, S, S)."""

    def __init__(self, config: R3GANConfig, shape: Shape) -> None:
        super().__init__()
        config.check_resolution(shape.resolution)
        widths = _widths(config, shape.resolution)
        widths.append(max(16, widths[-1] // 2))  # at S itself
        depth = config.blocks * len(widths)
        self.style = nn.Linear(shape.num_styles, STYLE_DIM, bias=False)
        self.start = nn.Linear(config.latent_dim + STYLE_DIM, widths[0] * 16, bias=False)
        stages: list[nn.Module] = []
        for number, width in enumerate(widths):
            if number > 0:
                stages.append(Convolution(widths[number - 1], width, 1))
                stages.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
            stages += [ResidualBlock(width, depth) for _ in range(config.blocks)]
        self.stages = nn.Sequential(*stages)
        self.to_rgb = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, z: Tensor, styles: Tensor) -> Tensor:
        """z (N, latent_dim), styles (N, K) whose rows sum to 1 => (N, 3, S, S), about [-1, 1]."""
        features = self.start(torch.cat([z, self.style(styles)], dim=1)).unflatten(1, (-1, 4, 4))
        features = features.contiguous(memory_format=torch.channels_last)
        return self.to_rgb(self.stages(features))


class Discriminator(nn.Module):
    """Images (N, 3, S, S) and styles (N, K) => a score each (N,)."""

    def __init__(self, config: R3GANConfig, shape: Shape) -> None:
        super().__init__()
        config.check_resolution(shape.resolution)
        widths = _widths(config, shape.resolution)[::-1]
        depth = config.blocks * len(widths)
        self.from_rgb = nn.Conv2d(3, widths[0], 4, stride=2, padding=1)
        stages: list[nn.Module] = []
        for number, width in enumerate(widths):
            if number > 0:
                stages.append(nn.AvgPool2d(2))
                stages.append(Convolution(widths[number - 1], width, 1))
            stages += [ResidualBlock(width, depth) for _ in range(config.blocks)]
        self.stages = nn.Sequential(*stages)
        # Each channel's 4×4 map to one number, all of them to the style's dimension.
        self.pool = nn.Conv2d(widths[-1], widths[-1], 4, groups=widths[-1], bias=False)
        self.end = nn.Linear(widths[-1], STYLE_DIM, bias=False)
        self.style = nn.Linear(shape.num_styles, STYLE_DIM, bias=False)

    def forward(self, images: Tensor, styles: Tensor) -> Tensor:
        """Scores by projection (Miyato, Koyama 2018, arXiv 1802.05637): <features, style>."""
        features = self.end(self.pool(self.stages(self.from_rgb(images))).flatten(1))
        return (features * self.style(styles)).float().sum(dim=1) / math.sqrt(STYLE_DIM)


def initialise(network: nn.Module, rng: torch.Generator) -> None:
    """First weights from `rng`: He normal times each layer's own gain; biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            gain = module.gain if isinstance(module, Convolution) else 1.0
            nn.init.normal_(module.weight, 0.0, gain / math.sqrt(fan_in), generator=rng)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, Generator | Discriminator):
            nn.init.normal_(module.style.weight, generator=rng)  # a unit Gaussian for each style


# ---------------------------------------------------------------- losses


def relativistic_loss(better: Tensor, worse: Tensor) -> Tensor:
    """E[log(1 + exp(-(D(better) - D(worse))))]: eq. 2, the pairing loss, from either side.

    The discriminator wants real images scored over generated ones, the generator the reverse.
    """
    return F.softplus(worse - better).mean()


def zero_centred_penalty(scores: Tensor, images: Tensor) -> Tensor:
    """E[‖∇ D(x)‖²]: eq. 3 and 4 without γ/2; R1 on real images, R2 on generated ones."""
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3)).mean()


# ---------------------------------------------------------------- trainer


class Trainer(FamilyTrainer[R3GANConfig]):
    """One discriminator and one generator update a step, on one draw of generated images."""

    style_table = "style.weight"
    counters = (
        "num_steps",
        "images_seen",
        "augment",
        "learning_rate_scale",
        "gamma_scale",
        "penalties",
    )

    def __init__(self, config: R3GANConfig, shape: Shape, machine: Machine) -> None:
        super().__init__(config, shape, machine)
        self.generator = self._new("generator", Generator(config, shape))
        self.discriminator = self._new("discriminator", Discriminator(config, shape))
        self.network = self.generator
        self.num_steps = 0
        self.images_seen = 0
        self.penalties: Scalars = {}
        # What the remedies change.
        self.augment: Augmentation = config.augment
        self.learning_rate_scale = 1.0
        self.gamma_scale = 1.0

    def _new(self, name: str, network: NetworkT) -> NetworkT:
        initialise(network, self.machine.rng)
        optimiser = partial(adam, learning_rate=self.config.learning_rate, betas=(0.0, 0.99))
        return self.add(name, network, optimiser)

    def step(self, images: Tensor, labels: Tensor, accumulate: int) -> Scalars:
        """One update of each network."""
        gamma = self._anneal()
        images = images.contiguous(memory_format=torch.channels_last)
        z = self.machine.normal(len(images), self.config.latent_dim)
        with self.machine.autocast():
            parts = [
                (real, self.generator(z, style), style)
                for real, z, style in parts_of(accumulate, images, z, self.one_hot(labels))
            ]
        real_scores: list[Tensor] = []
        with self.update("discriminator"):
            loss = partial(self._discriminator_loss, gamma, real_scores)
            scalars = self.accumulate(parts, loss)
        self.penalties |= {name: scalars[name] for name in PENALTIES if name in scalars}
        judged = [
            (fake, style, scores)
            for (_, fake, style), scores in zip(parts, real_scores, strict=True)
        ]
        with self.update("generator"), frozen(self.discriminator):
            scalars |= self.accumulate(judged, self._generator_loss) | self.penalties
        self.num_steps += 1
        self.images_seen += self.count_of(images)
        return scalars

    def _anneal(self) -> float:
        """Set both learning rates; return γ (section 4, "burn-in")."""
        config = self.config
        done = min(1.0, self.images_seen / config.burn_in_images) if config.burn_in_images else 1.0
        left = 0.5 + 0.5 * math.cos(math.pi * done)
        rate = _between(config.final_learning_rate, config.learning_rate, left)
        rate *= self.learning_rate_scale
        # Two time scales: Heusel et al. 2017, arXiv 1706.08500.
        self.set_learning_rate("generator", rate)
        self.set_learning_rate("discriminator", rate * config.discriminator_rate)
        return _between(config.final_gamma, config.gamma, left) * self.gamma_scale

    def _discriminator_loss(
        self, gamma: float, real_scores: list[Tensor], real: Tensor, fake: Tensor, styles: Tensor
    ) -> tuple[Tensor, Scalars]:
        """Eq. 2, and where they are due eq. 3 and 4; appends the scores of the real images."""
        interval = self.config.penalty_interval
        is_penalised = gamma > 0 and self.num_steps % interval == 0
        real = self._augmented(real).requires_grad_(is_penalised)
        fake = self._augmented(fake.detach().float()).requires_grad_(is_penalised)
        # Together: one pass over twice the images is quicker than two.
        images = torch.cat([real, fake]).contiguous(memory_format=torch.channels_last)
        real_logits, fake_logits = self.discriminator(images, styles.repeat(2, 1)).chunk(2)
        real_scores.append(real_logits.detach())
        loss = relativistic_loss(real_logits, fake_logits)
        scalars = {
            "discriminator_loss": loss,
            "real_score": real_logits.mean(),
            "fake_score": fake_logits.mean(),
        }
        if is_penalised:
            r1 = zero_centred_penalty(real_logits, real)
            r2 = zero_centred_penalty(fake_logits, fake)
            loss = loss + interval * gamma / 2 * (r1 + r2)
            scalars |= {"r1_penalty": r1, "r2_penalty": r2}
        return loss, scalars

    def _generator_loss(
        self, fake: Tensor, styles: Tensor, real_scores: Tensor
    ) -> tuple[Tensor, Scalars]:
        fake_logits = self.discriminator(self._augmented(fake), styles)
        loss = relativistic_loss(fake_logits, real_scores)
        return loss, {"generator_loss": loss}

    def _augmented(self, images: Tensor) -> Tensor:
        seen = augment(images, self.augment, self.machine.draws)
        return seen.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def scores(self, images: Tensor, labels: Tensor) -> Tensor:
        """The discriminator's scores (N,) of images as they are, not augmented."""
        images = images.contiguous(memory_format=torch.channels_last)
        return self.discriminator(images, self.one_hot(labels))

    def remedy(self, trouble: Trouble) -> str:
        """Augment more strongly against over-fitting; else learn slower, and penalise more."""
        if trouble == "over-fitting":
            if self.augment == "full":
                return ""
            self.augment = STRONGER[self.augment]
            return f"augmentation now {self.augment}"
        self.learning_rate_scale *= rate_factor(trouble)
        self.gamma_scale *= 2
        return f"learning rate × {self.learning_rate_scale:g}, γ × {self.gamma_scale:g}"


def _between(end: float, start: float, left: float) -> float:
    return end + left * (start - end)


# ---------------------------------------------------------------- sampler


class Sampler:
    """Seeds => pictures, through a generator in evaluation mode."""

    def __init__(self, network: Generator, config: R3GANConfig) -> None:
        self.network = network.eval()
        self.latent_dim = config.latent_dim
        self.device = next(network.parameters()).device

    def sample(self, request: Request[Options]) -> Tensor:
        """Make one picture for each seed, (n, 3, S, S) in [-1, 1]."""
        latents = draw_latents(request.seeds, self.latent_dim, request.options)
        return in_fixed_batches(self.network, [latents, request.styles], self.device)


# ---------------------------------------------------------------- export


def build_graphs(network: Generator, config: R3GANConfig, shape: Shape) -> dict[str, Graph]:
    """z (N, latent_dim) and styles (N, K) => pictures."""
    return {
        "model": Graph(network, {"z": ("N", config.latent_dim), "styles": ("N", shape.num_styles)})
    }


METHOD = Method(Trainer, Generator, Sampler, build_graphs)
