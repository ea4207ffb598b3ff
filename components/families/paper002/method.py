"""The three models of paper 002, read top to bottom: networks, losses, trainer, sampler.

References: paper 002 (Tables 2 and 3, Figs. 3 and 4); Radford, Metz, Chintala 2015,
arXiv 1511.06434 (DCGAN); Arjovsky, Chintala, Bottou 2017, arXiv 1701.07875 (WGAN, clipping);
Gulrajani et al. 2017, arXiv 1704.00028 (gradient penalty, eq. 3).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.families.optimisers import adam, load_optimiser
from components.families.paper002.config import Options, Table2Config
from components.families.port import FamilyConfig, FamilyOptions, FamilySampler, Shape, Trouble
from components.families.sampling import draw_latents, in_fixed_batches

# ---------------------------------------------------------------- networks


def _activation(name: str) -> nn.Module:
    modules = {"linear": nn.Identity(), "relu": nn.ReLU(), "tanh": nn.Tanh()}
    return nn.LeakyReLU(0.2) if name == "leaky_relu" else modules[name]


def _normalisation(name: str, channels: int) -> nn.Module:
    if name == "batch":
        return nn.BatchNorm2d(channels)
    # One group is layer normalisation over (C, H, W), with a gain for each channel.
    return nn.GroupNorm(1, channels) if name == "layer" else nn.Identity()


class Generator(nn.Module):
    """z (N, latent_dim) => images (N, 3, S, S): 4×4 features, doubled until S."""

    def __init__(self, config: Table2Config, resolution: int) -> None:
        super().__init__()
        config.check_resolution(resolution)
        doublings = int(math.log2(resolution / 4))
        widths = [config.generator_channels * 2**n for n in reversed(range(doublings))]
        kernel = config.kernel_size

        # A 4×4 transposed convolution of a 1×1 map is the fully connected layer of the same
        # shape; the two differ in their bias, one a channel against one a feature.
        self.start: nn.Module = (
            nn.Linear(config.latent_dim, widths[0] * 16)
            if config.fully_connected
            else nn.ConvTranspose2d(config.latent_dim, widths[0], 4, bias=config.bias)
        )
        layers: list[nn.Module] = [
            _normalisation(config.generator_normalisation, widths[0]),
            _activation(config.generator_activation),
        ]
        for width, next_width in zip(widths, [*widths[1:], 3], strict=True):
            is_last = next_width == 3
            layers.append(
                nn.ConvTranspose2d(
                    width,
                    next_width,
                    kernel,
                    stride=2,
                    padding=(kernel - 1) // 2,
                    output_padding=kernel % 2,
                    bias=config.bias or is_last,
                )
            )
            if not is_last:
                layers.append(_normalisation(config.generator_normalisation, next_width))
                layers.append(_activation(config.generator_activation))
        layers.append(_activation(config.output_activation))
        self.body = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """z (N, latent_dim) => (N, 3, S, S), in [-1, 1] under tanh."""
        if isinstance(self.start, nn.Linear):
            features = self.start(z).unflatten(1, (-1, 4, 4))
        else:
            features = self.start(z[:, :, None, None])
        return self.body(features)


class Discriminator(nn.Module):
    """Images (N, 3, S, S) => a score each (N,): logits for BCE, a critic's value for W1."""

    def __init__(self, config: Table2Config, resolution: int) -> None:
        super().__init__()
        kernel = config.kernel_size
        config.check_resolution(resolution)
        doublings = int(math.log2(resolution / 4))
        widths = [config.discriminator_channels * 2**n for n in range(doublings)]
        layers: list[nn.Module] = []
        for width, next_width in zip([3, *widths], widths, strict=False):
            layers.append(
                nn.Conv2d(
                    width,
                    next_width,
                    kernel,
                    stride=2,
                    padding=(kernel - 1) // 2,
                    bias=config.bias or width == 3,
                )
            )
            if width != 3:  # Radford et al., section 3: none on the discriminator's input
                layers.append(_normalisation(config.discriminator_normalisation, next_width))
            layers.append(_activation(config.discriminator_activation))
        layers.append(
            nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * 16, 1))
            if config.fully_connected
            else nn.Conv2d(widths[-1], 1, 4, bias=config.bias)
        )
        self.body = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, S, S) => scores (N,)."""
        return self.body(images).flatten()


def initialise(network: nn.Module, weight_init: str, rng: torch.Generator) -> None:
    """First weights as Table 2 names them, from `rng`; biases 0, normalisation gains 1."""
    for module in network.modules():
        if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            continue
        if weight_init == "glorot_normal":
            nn.init.xavier_normal_(module.weight, generator=rng)
        elif weight_init == "normal":
            nn.init.normal_(module.weight, 0.0, 0.02, generator=rng)
        else:
            bound = 0.02 * math.sqrt(3)  # the same standard deviation, 0.02
            nn.init.uniform_(module.weight, -bound, bound, generator=rng)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


# ---------------------------------------------------------------- losses


def discriminator_loss(loss: str, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """BCE: -log σ(D(x)) - log(1 - σ(D(G(z)))). W1: E[D(G(z))] - E[D(x)] (WGAN, eq. 2)."""
    if loss == "bce":
        return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
    return fake_logits.mean() - real_logits.mean()


def generator_loss(loss: str, fake_logits: Tensor) -> Tensor:
    """BCE: -log σ(D(G(z))), the non-saturating form. W1: -E[D(G(z))]."""
    return F.softplus(-fake_logits).mean() if loss == "bce" else -fake_logits.mean()


def gradient_penalty(discriminator: nn.Module, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """E[(‖∇ D(x̂)‖₂ - 1)²] at x̂ = ε x + (1 - ε) G(z): WGAN-GP, eq. 3, without its λ.

    `mix` is ε, uniform in [0, 1), shape (N, 1, 1, 1).
    """
    between = torch.lerp(fake, real, mix).requires_grad_()
    scores = discriminator(between)
    (gradient,) = torch.autograd.grad(scores.float().sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1.0).square().mean()


# ---------------------------------------------------------------- trainer


def _optimiser(config: Table2Config, network: nn.Module) -> torch.optim.Optimizer:
    if config.optimiser == "sgd":
        return torch.optim.SGD(network.parameters(), lr=config.learning_rate)
    betas = (config.beta1, config.beta2)
    return adam(network.parameters(), config.learning_rate, betas)


class Trainer:
    """Adversarial training of paper 002: D learns from every batch, G from every n-th."""

    def __init__(
        self,
        config: Table2Config,
        resolution: int,
        device: torch.device,
        dtype: torch.dtype,
        rng: torch.Generator,
    ) -> None:
        self.config = config
        self.device = device
        self.dtype = dtype
        self.rng = rng
        self.generator = Generator(config, resolution)
        self.discriminator = Discriminator(config, resolution)
        for network in (self.generator, self.discriminator):
            initialise(network, config.weight_init, rng)
            network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network: nn.Module = self.generator
        self.optimisers = {
            "generator": _optimiser(config, self.generator),
            "discriminator": _optimiser(config, self.discriminator),
        }
        self.num_steps = 0
        self._generator_loss = torch.zeros((), device=device)

    def step(self, images: Tensor, labels: Tensor, accumulate: int) -> dict[str, Tensor]:
        """One discriminator update, and every `discriminator_iterations` a generator update."""
        images = images.contiguous(memory_format=torch.channels_last)
        metrics = self._discriminator_step(images.chunk(accumulate))
        self.num_steps += 1
        if self.num_steps % self.config.discriminator_iterations == 0:
            self._generator_loss = self._generator_step(len(images), accumulate)
        return metrics | {"generator_loss": self._generator_loss}

    def _discriminator_step(self, parts: Sequence[Tensor]) -> dict[str, Tensor]:
        D, config = self.discriminator, self.config
        self.optimisers["discriminator"].zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for real in parts:
            with self._autocast():
                with torch.no_grad():
                    fake = self.generator(self._latents(len(real)))
                real_logits, fake_logits = D(real).float(), D(fake).float()
                loss = discriminator_loss(config.loss, real_logits, fake_logits)
                found = {"discriminator_loss": loss}
                if config.gradient_correction == "penalty":
                    mix = torch.rand(len(real), 1, 1, 1, generator=self.rng).to(self.device)
                    found["gradient_penalty"] = gradient_penalty(D, real, fake.float(), mix)
                    loss = loss + config.penalty_weight * found["gradient_penalty"]
            (loss / len(parts)).backward()
            found |= {"real_score": real_logits.mean(), "fake_score": fake_logits.mean()}
            for name, value in found.items():
                sums[name] = sums.get(name, 0.0) + value.detach() / len(parts)
        self.optimisers["discriminator"].step()
        if config.gradient_correction == "clipping":
            with torch.no_grad():
                for parameter in D.parameters():
                    parameter.clamp_(-config.clip_value, config.clip_value)
        return sums

    def _generator_step(self, batch_size: int, accumulate: int) -> Tensor:
        self.optimisers["generator"].zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(False)
        total = torch.zeros((), device=self.device)
        for part in torch.arange(batch_size).chunk(accumulate):
            with self._autocast():
                fake_logits = self.discriminator(self.generator(self._latents(len(part)))).float()
                loss = generator_loss(self.config.loss, fake_logits) / accumulate
            loss.backward()
            total += loss.detach()
        self.discriminator.requires_grad_(True)
        self.optimisers["generator"].step()
        return total

    def _latents(self, count: int) -> Tensor:
        return torch.randn(count, self.config.latent_dim, generator=self.rng).to(self.device)

    def _autocast(self) -> torch.autocast:
        is_reduced = self.dtype is not torch.float32
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=is_reduced)

    @torch.no_grad()
    def scores(self, images: Tensor, labels: Tensor) -> Tensor:
        """The discriminator's logits or the critic's values, (N,)."""
        self.discriminator.eval()  # looking leaves no trace in running statistics
        scores = self.discriminator(images.contiguous(memory_format=torch.channels_last))
        self.discriminator.train()
        return scores

    def remedy(self, trouble: Trouble) -> str:
        """Learn slower: a tenth where numbers ran away, else half; only D where it learns by heart.

        An over-fitted discriminator has no augmentation here to make its task harder.
        """
        factor = 0.1 if trouble in ("not a number", "divergence") else 0.5
        names = ["discriminator"] if trouble == "over-fitting" else list(self.optimisers)
        for name in names:
            for group in self.optimisers[name].param_groups:
                group["lr"] *= factor
        rates = {name: self.optimisers[name].param_groups[0]["lr"] for name in names}
        return "learning rate now " + ", ".join(f"{r:g} ({name})" for name, r in rates.items())

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
        """Both networks, where both are there; these know no styles."""
        self.generator.load_state_dict(weights)
        if "discriminator" in companions:
            self.discriminator.load_state_dict(companions["discriminator"])

    def state_dict(self) -> dict[str, object]:
        """Networks, optimisers and the counter; the noise's state is the loop's."""
        return {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
            "num_steps": self.num_steps,
            "generator_loss": self._generator_loss,
        }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from `state_dict()`."""
        known = cast(Mapping[str, Any], state)
        self.generator.load_state_dict(known["generator"])
        self.discriminator.load_state_dict(known["discriminator"])
        for name, optimiser in self.optimisers.items():
            load_optimiser(optimiser, known["optimisers"][name])
        self.num_steps = known["num_steps"]
        self._generator_loss = known["generator_loss"].to(self.device)


# ---------------------------------------------------------------- sampler


class Sampler:
    """Seeds => pictures, through a generator in evaluation mode."""

    def __init__(self, network: nn.Module, config: Table2Config) -> None:
        self.network = network.eval()
        self.latent_dim = config.latent_dim
        self.device = next(network.parameters()).device

    def sample(self, seeds: Sequence[int], styles: Tensor, options: FamilyOptions) -> Tensor:
        """One picture a seed, (n, 3, S, S) in [-1, 1]; the styles play no part."""
        latents = draw_latents(seeds, self.latent_dim, cast(Options, options))
        return in_fixed_batches(self.network, [latents], self.device)


# ---------------------------------------------------------------- the family's door


def build_trainer(
    config: FamilyConfig,
    shape: Shape,
    device: torch.device,
    dtype: torch.dtype,
    rng: torch.Generator,
) -> Trainer:
    """A fresh trainer, first weights drawn from `rng`."""
    return Trainer(cast(Table2Config, config), shape.resolution, device, dtype, rng)


def build_network(config: FamilyConfig, shape: Shape) -> nn.Module:
    """The generator, its weights still to be loaded."""
    return Generator(cast(Table2Config, config), shape.resolution)


def build_sampler(network: nn.Module, config: FamilyConfig) -> FamilySampler:
    """A sampler over a generator on its device."""
    return Sampler(network, cast(Table2Config, config))
