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
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.families.augment import augment
from components.families.optimisers import adam, load_optimiser
from components.families.port import FamilyConfig, FamilyOptions, FamilySampler, Shape, Trouble
from components.families.r3gan.config import Augmentation, Options, R3GANConfig
from components.families.sampling import draw_latents, in_fixed_batches
from components.families.styles import with_styles

STYLE_DIM = 64
SLOPE = 0.2

# ---------------------------------------------------------------- networks


class Convolution(nn.Conv2d):
    """Without bias, keeping the size; `initialise` draws its weights times `gain`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, gain: float = 1.0) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=False)
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


def _between(end: float, start: float, left: float) -> float:
    return end + left * (start - end)


class Trainer:
    """One discriminator and one generator update a step, on one draw of generated images."""

    def __init__(
        self,
        config: R3GANConfig,
        shape: Shape,
        device: torch.device,
        dtype: torch.dtype,
        rng: torch.Generator,
    ) -> None:
        self.config = config
        self.num_styles = shape.num_styles
        self.device = device
        self.dtype = dtype
        self.rng = rng
        self.generator = Generator(config, shape)
        self.discriminator = Discriminator(config, shape)
        for network in (self.generator, self.discriminator):
            initialise(network, rng)
            network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network: nn.Module = self.generator
        networks = {"generator": self.generator, "discriminator": self.discriminator}
        self.optimisers = {
            name: adam(network.parameters(), config.learning_rate, betas=(0.0, 0.99))
            for name, network in networks.items()
        }
        self.num_steps = 0
        self.images_seen = 0
        self.augment = config.augment
        # What the remedies have changed.
        self.learning_rate_scale = 1.0
        self.gamma_scale = 1.0
        self._penalties: dict[str, Tensor] = {}

    def step(self, images: Tensor, labels: Tensor, accumulate: int) -> dict[str, Tensor]:
        """One update of each network."""
        gamma = self._anneal(len(images))
        images = images.contiguous(memory_format=torch.channels_last)
        styles = F.one_hot(labels, self.num_styles).float()
        with self._autocast():
            z = torch.randn(len(images), self.config.latent_dim, generator=self.rng)
            fakes = [
                self.generator(part, style)
                for part, style in zip(
                    z.to(self.device).chunk(accumulate), styles.chunk(accumulate), strict=True
                )
            ]
        parts = list(zip(images.chunk(accumulate), fakes, styles.chunk(accumulate), strict=True))
        metrics, real_scores = self._discriminator_step(parts, gamma)
        metrics["generator_loss"] = self._generator_step(parts, real_scores)
        self.num_steps += 1
        self.images_seen += len(images)
        return metrics

    def _anneal(self, batch_size: int) -> float:
        """Set both learning rates; return γ (section 4, "burn-in")."""
        config = self.config
        done = min(1.0, self.images_seen / config.burn_in_images) if config.burn_in_images else 1.0
        left = 0.5 + 0.5 * math.cos(math.pi * done)
        rate = _between(config.final_learning_rate, config.learning_rate, left)
        rate *= self.learning_rate_scale
        # Two time scales: Heusel et al. 2017, arXiv 1706.08500.
        rates = {"generator": rate, "discriminator": rate * config.discriminator_rate}
        for name, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = rates[name]
        return _between(config.final_gamma, config.gamma, left) * self.gamma_scale

    def _discriminator_step(
        self, parts: Sequence[tuple[Tensor, Tensor, Tensor]], gamma: float
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        self.optimisers["discriminator"].zero_grad(set_to_none=True)
        interval = self.config.penalty_interval
        is_penalised = gamma > 0 and self.num_steps % interval == 0
        sums: dict[str, Tensor] = {}
        real_scores: list[Tensor] = []
        for real, fake, styles in parts:
            real, fake = self._augmented(real), self._augmented(fake.detach().float())
            if is_penalised:
                real.requires_grad_()
                fake.requires_grad_()
            with self._autocast():
                # Together: one pass over twice the images is quicker than two.
                images = torch.cat([real, fake]).contiguous(memory_format=torch.channels_last)
                real_logits, fake_logits = self.discriminator(images, styles.repeat(2, 1)).chunk(2)
                found = {"discriminator_loss": relativistic_loss(real_logits, fake_logits)}
                loss = found["discriminator_loss"]
                if is_penalised:
                    r1 = zero_centred_penalty(real_logits, real)
                    r2 = zero_centred_penalty(fake_logits, fake)
                    loss = loss + interval * gamma / 2 * (r1 + r2)
                    self._penalties = {"r1_penalty": r1.detach(), "r2_penalty": r2.detach()}
            (loss / len(parts)).backward()
            real_scores.append(real_logits.detach())
            found |= {"real_score": real_logits.mean(), "fake_score": fake_logits.mean()}
            for name, value in found.items():
                sums[name] = sums.get(name, 0.0) + value.detach() / len(parts)
        self.optimisers["discriminator"].step()
        return sums | self._penalties, real_scores

    def _generator_step(
        self, parts: Sequence[tuple[Tensor, Tensor, Tensor]], real_scores: Sequence[Tensor]
    ) -> Tensor:
        self.optimisers["generator"].zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(False)
        total = torch.zeros((), device=self.device)
        for (_, fake, styles), real_logits in zip(parts, real_scores, strict=True):
            with self._autocast():
                fake_logits = self.discriminator(self._augmented(fake), styles)
                loss = relativistic_loss(fake_logits, real_logits) / len(parts)
            loss.backward()
            total += loss.detach()
        self.discriminator.requires_grad_(True)
        self.optimisers["generator"].step()
        return total

    def _augmented(self, images: Tensor) -> Tensor:
        moved = augment(images, self.augment, self.rng)
        return moved.contiguous(memory_format=torch.channels_last)

    def _autocast(self) -> torch.autocast:
        is_reduced = self.dtype is not torch.float32
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=is_reduced)

    @torch.no_grad()
    def scores(self, images: Tensor, labels: Tensor) -> Tensor:
        """The discriminator's scores (N,) of images as they are, not augmented."""
        styles = F.one_hot(labels, self.num_styles).float()
        return self.discriminator(images.contiguous(memory_format=torch.channels_last), styles)

    def remedy(self, trouble: Trouble) -> str:
        """Stronger augmentation against learning by heart; else slower, and penalised more."""
        stronger = {"none": "flip", "flip": "light", "light": "full"}
        if trouble == "over-fitting":
            if self.augment == "full":
                return ""
            self.augment = cast(Augmentation, stronger[self.augment])
            return f"augmentation now {self.augment}"
        self.learning_rate_scale *= 0.1 if trouble in ("not a number", "divergence") else 0.5
        self.gamma_scale *= 2
        return f"learning rate × {self.learning_rate_scale:g}, γ × {self.gamma_scale:g}"

    def companions(self) -> dict[str, nn.Module]:
        """The discriminator: half of what was learnt."""
        return {"discriminator": self.discriminator}

    def start_from(
        self,
        weights: Mapping[str, Tensor],
        companions: Mapping[str, Mapping[str, Tensor]],
        styles: Sequence[int | None],
        config: FamilyConfig,
    ) -> None:
        """Both networks; a style that is new to them begins as the mean of those they know."""
        for network, known in (
            (self.generator, weights),
            (self.discriminator, companions.get("discriminator")),
        ):
            if known is not None:
                network.load_state_dict(with_styles(known, "style.weight", styles))

    def state_dict(self) -> dict[str, object]:
        """Networks, optimisers and counters; the noise's state is the loop's."""
        return {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
            "num_steps": self.num_steps,
            "images_seen": self.images_seen,
            "augment": self.augment,
            "learning_rate_scale": self.learning_rate_scale,
            "gamma_scale": self.gamma_scale,
            "penalties": self._penalties,
        }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from `state_dict()`."""
        known = cast(Mapping[str, Any], state)
        self.generator.load_state_dict(known["generator"])
        self.discriminator.load_state_dict(known["discriminator"])
        for name, optimiser in self.optimisers.items():
            load_optimiser(optimiser, known["optimisers"][name])
        self.num_steps, self.images_seen = known["num_steps"], known["images_seen"]
        self.augment = known["augment"]
        self.learning_rate_scale = known["learning_rate_scale"]
        self.gamma_scale = known["gamma_scale"]
        self._penalties = {name: v.to(self.device) for name, v in known["penalties"].items()}


# ---------------------------------------------------------------- sampler


class Sampler:
    """Seeds => pictures, through a generator in evaluation mode."""

    def __init__(self, network: nn.Module, config: R3GANConfig) -> None:
        self.network = network.eval()
        self.latent_dim = config.latent_dim
        self.device = next(network.parameters()).device

    def sample(self, seeds: Sequence[int], styles: Tensor, options: FamilyOptions) -> Tensor:
        """One picture a seed, (n, 3, S, S) in [-1, 1]."""
        latents = draw_latents(seeds, self.latent_dim, cast(Options, options))
        return in_fixed_batches(self.network, [latents, styles], self.device)


# ---------------------------------------------------------------- the family's door


def build_trainer(
    config: FamilyConfig,
    shape: Shape,
    device: torch.device,
    dtype: torch.dtype,
    rng: torch.Generator,
) -> Trainer:
    """A fresh trainer, first weights drawn from `rng`."""
    return Trainer(cast(R3GANConfig, config), shape, device, dtype, rng)


def build_network(config: FamilyConfig, shape: Shape) -> nn.Module:
    """The generator, its weights still to be loaded."""
    return Generator(cast(R3GANConfig, config), shape)


def build_sampler(network: nn.Module, config: FamilyConfig) -> FamilySampler:
    """A sampler over a generator on its device."""
    return Sampler(network, cast(R3GANConfig, config))
