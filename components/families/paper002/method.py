"""The three models of paper 002, read top to bottom: networks, losses, trainer, sampler.

References: paper 002 (Tables 2 and 3, Figs. 3 and 4); Radford, Metz, Chintala 2015,
arXiv 1511.06434 (DCGAN); Arjovsky, Chintala, Bottou 2017, arXiv 1701.07875 (WGAN, clipping);
Gulrajani et al. 2017, arXiv 1704.00028 (gradient penalty, eq. 3).
"""

import math
from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.families.optimisers import adam
from components.families.paper002.config import Options, Table2Config
from components.families.port import Graph, Method, NetworkT, Request, Shape, Trouble
from components.families.sampling import draw_latents, in_fixed_batches
from components.families.trainer import (
    FamilyTrainer,
    Machine,
    Scalars,
    frozen,
    parts_of,
    rate_factor,
)

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

    def __init__(self, config: Table2Config, shape: Shape) -> None:
        super().__init__()
        config.check_resolution(shape.resolution)
        doublings = int(math.log2(shape.resolution / 4))
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

    def __init__(self, config: Table2Config, shape: Shape) -> None:
        super().__init__()
        kernel = config.kernel_size
        config.check_resolution(shape.resolution)
        doublings = int(math.log2(shape.resolution / 4))
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
    return (gradient.flatten(1).norm(dim=1) - 1.0).square().mean()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


# ---------------------------------------------------------------- trainer


class Trainer(FamilyTrainer[Table2Config]):
    """Adversarial training of paper 002: D learns from every batch, G from every n-th."""

    counters = ("num_steps", "generator_loss")

    def __init__(self, config: Table2Config, shape: Shape, machine: Machine) -> None:
        super().__init__(config, shape, machine)
        self.generator = self._new("generator", Generator(config, shape))
        self.discriminator = self._new("discriminator", Discriminator(config, shape))
        self.network = self.generator
        self.num_steps = 0
        self.generator_loss = torch.zeros((), device=machine.device)

    def _new(self, name: str, network: NetworkT) -> NetworkT:
        initialise(network, self.config.weight_init, self.machine.rng)
        return self.add(name, network, partial(_optimiser, self.config))

    def step(self, images: Tensor, labels: Tensor, accumulate: int) -> Scalars:
        """One discriminator update, and every `discriminator_iterations` a generator update."""
        images = images.contiguous(memory_format=torch.channels_last)
        with self.update("discriminator"):
            scalars = self.accumulate(parts_of(accumulate, images), self._discriminator_loss)
        if self.config.gradient_correction == "clipping":
            clip(self.discriminator, self.config.clip_value)
        self.num_steps += 1
        if self.num_steps % self.config.discriminator_iterations == 0:
            with self.update("generator"), frozen(self.discriminator):
                found = self.accumulate(parts_of(accumulate, images), self._generator_loss)
            self.generator_loss = found["generator_loss"]
        return scalars | {"generator_loss": self.generator_loss}

    def _discriminator_loss(self, real: Tensor) -> tuple[Tensor, Scalars]:
        D, config = self.discriminator, self.config
        with torch.no_grad():
            fake = self.generator(self._latents(len(real)))
        real_logits, fake_logits = D(real).float(), D(fake).float()
        loss = discriminator_loss(config.loss, real_logits, fake_logits)
        scalars = {"discriminator_loss": loss}
        if config.gradient_correction == "penalty":
            mix = self.machine.uniform(len(real), 1, 1, 1)
            scalars["gradient_penalty"] = gradient_penalty(D, real, fake.float(), mix)
            loss = loss + config.penalty_weight * scalars["gradient_penalty"]
        return loss, scalars | {"real_score": real_logits.mean(), "fake_score": fake_logits.mean()}

    def _generator_loss(self, real: Tensor) -> tuple[Tensor, Scalars]:
        """Loss of the generator for as many images as there are real ones."""
        fake_logits = self.discriminator(self.generator(self._latents(len(real)))).float()
        loss = generator_loss(self.config.loss, fake_logits)
        return loss, {"generator_loss": loss}

    def _latents(self, count: int) -> Tensor:
        return self.machine.normal(count, self.config.latent_dim)

    @torch.no_grad()
    def scores(self, images: Tensor, labels: Tensor) -> Tensor:
        """The discriminator's logits or the critic's values, (N,)."""
        self.discriminator.eval()  # looking leaves no trace in running statistics
        scores = self.discriminator(images.contiguous(memory_format=torch.channels_last))
        self.discriminator.train()
        return scores

    def remedy(self, trouble: Trouble) -> str:
        """Lower the learning rates; only the discriminator's against over-fitting.

        There is no augmentation here that could make its task harder.
        """
        names = ["discriminator"] if trouble == "over-fitting" else list(self.optimisers)
        rates = {name: self.learning_rate(name) * rate_factor(trouble) for name in names}
        for name, rate in rates.items():
            self.set_learning_rate(name, rate)
        return "learning rate now " + ", ".join(f"{r:g} ({name})" for name, r in rates.items())


def _optimiser(config: Table2Config, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    if config.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=config.learning_rate)
    return adam(parameters, config.learning_rate, (config.beta1, config.beta2))


@torch.no_grad()
def clip(network: nn.Module, limit: float) -> None:
    """Clamp every weight to [-limit, limit] (WGAN, algorithm 1)."""
    for parameter in network.parameters():
        parameter.clamp_(-limit, limit)


# ---------------------------------------------------------------- sampler


class Sampler:
    """Seeds => pictures, through a generator in evaluation mode."""

    def __init__(self, network: Generator, config: Table2Config) -> None:
        self.network = network.eval()
        self.latent_dim = config.latent_dim
        self.device = next(network.parameters()).device

    def sample(self, request: Request[Options]) -> Tensor:
        """Make one picture for each seed, (n, 3, S, S) in [-1, 1]; styles play no part."""
        latents = draw_latents(request.seeds, self.latent_dim, request.options)
        return in_fixed_batches(self.network, [latents], self.device)


# ---------------------------------------------------------------- export


def build_graphs(network: Generator, config: Table2Config, shape: Shape) -> dict[str, Graph]:
    """z (N, latent_dim) => pictures."""
    return {"model": Graph(network, {"z": ("N", config.latent_dim)})}


METHOD = Method(Trainer, Generator, Sampler, build_graphs)
