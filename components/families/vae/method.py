"""The variational autoencoder, read top to bottom: networks, losses, trainer, sampler.

References: Kingma, Welling 2014, arXiv 1312.6114 (the bound, also paper 003, section 1.3:
log p(x) ≥ E[log p(x|z)] - KL(q(z|x) || p(z))); Higgins et al. 2017, "beta-VAE" (its weight β);
Kingma et al. 2016, arXiv 1606.04934, appendix C.8 (free bits); Rybkin, Daniilidis, Levine 2021,
arXiv 2006.13202 ("σ-VAE": the likelihood's width in closed form).

Paper 003 leaves p(x|z) open. With a width of 1 the squared error of an image counts for little
beside the KL divergence, and all pictures come out alike; the width that makes the data most likely
is the error itself, and then the two halves balance without a weight to search for.

The decoder is given the style, the encoder is not: z holds what the style does not say, and a
picture can be painted anew in another style.
"""

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.families.latent import LatentOptions
from components.families.optimisers import adam
from components.families.port import Graph, Method, Request, Shape, Trouble
from components.families.ranks import ALONE, Ranks
from components.families.sampling import draw_latents, in_fixed_batches, slerp, square
from components.families.trainer import FamilyTrainer, Machine, Scalars, parts_of, rate_factor
from components.families.vae.config import Options, VAEConfig

STYLE_DIM = 32
WIDEST_LOG_VAR = 10.0
"""e^±10: farther the posterior cannot go, so that a bad step is no overflow."""

# ---------------------------------------------------------------- networks


class ResidualBlock(nn.Module):
    """x + f(x), f two 3×3 convolutions that begin as nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) => the same shape."""
        return features + self.second(F.silu(self.first(F.silu(features))))


def _widths(config: VAEConfig, resolution: int) -> list[int]:
    """Channels at sides S/2, S/4, … 4: doubled at each, never over the maximum."""
    halvings = int(math.log2(resolution / 8))
    return [min(config.channels * 2**n, config.max_channels) for n in range(halvings + 1)]


class Encoder(nn.Module):
    """Images (N, 3, S, S) => mu and log_var of q(z|x), (N, latent_dim) each."""

    def __init__(self, config: VAEConfig, resolution: int) -> None:
        super().__init__()
        widths = _widths(config, resolution)
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, stride=2, padding=1)]
        for number, width in enumerate(widths):
            if number > 0:
                layers += [nn.AvgPool2d(2), nn.Conv2d(widths[number - 1], width, 1)]
            layers += [ResidualBlock(width) for _ in range(config.blocks)]
        self.stages = nn.Sequential(*layers)
        self.posterior = nn.Linear(widths[-1] * 16, 2 * config.latent_dim)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Float32, whatever the layers compute in."""
        features = F.silu(self.stages(images)).flatten(1)
        mu, log_var = self.posterior(features).float().chunk(2, dim=1)
        return mu, log_var.clamp(-WIDEST_LOG_VAR, WIDEST_LOG_VAR)


class Decoder(nn.Module):
    """z (N, latent_dim) and styles (N, K) => the mean of p(x|z), (N, 3, S, S), about [-1, 1]."""

    def __init__(self, config: VAEConfig, shape: Shape) -> None:
        super().__init__()
        widths = _widths(config, shape.resolution)[::-1]
        widths.append(max(8, widths[-1] // 2))  # at S itself
        self.style = nn.Linear(shape.num_styles, STYLE_DIM, bias=False)
        self.start = nn.Linear(config.latent_dim + STYLE_DIM, widths[0] * 16)
        layers: list[nn.Module] = []
        for number, width in enumerate(widths):
            if number > 0:
                layers.append(nn.Conv2d(widths[number - 1], width, 1))
                layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
            layers += [ResidualBlock(width) for _ in range(config.blocks)]
        self.stages = nn.Sequential(*layers)
        self.to_rgb = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, z: Tensor, styles: Tensor) -> Tensor:
        """Rows of `styles` sum to 1."""
        features = self.start(torch.cat([z, self.style(styles)], dim=1)).unflatten(1, (-1, 4, 4))
        features = features.contiguous(memory_format=torch.channels_last)
        return self.to_rgb(F.silu(self.stages(features)))


class VAE(nn.Module):
    """Both halves: a model is worth keeping for what it makes and for what it encodes."""

    def __init__(self, config: VAEConfig, shape: Shape) -> None:
        super().__init__()
        config.check_resolution(shape.resolution)
        self.encoder = Encoder(config, shape.resolution)
        self.decoder = Decoder(config, shape)
        self.resolution = shape.resolution


def initialise(network: nn.Module, rng: torch.Generator) -> None:
    """First weights from `rng`, Normal(0, 1/inputs); blocks begin as the identity, q(z|x) near
    N(0, 1).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            deviation = 1 / math.sqrt(module.weight[0].numel())
            nn.init.normal_(module.weight, 0.0, deviation, generator=rng)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            nn.init.zeros_(module.second.weight)
        elif isinstance(module, Encoder):
            module.posterior.weight.data.mul_(0.1)
        elif isinstance(module, Decoder):
            nn.init.normal_(module.style.weight, generator=rng)  # a unit Gaussian for each style


# ---------------------------------------------------------------- losses


def reconstruction_loss(
    images: Tensor, mean: Tensor, ranks: Ranks = ALONE
) -> tuple[Tensor, Tensor]:
    """-log p(x|z) in nats an image, p(x|z) = N(mean, σ²), and the σ used.

    σ² is the mean squared error of the batch: σ-VAE, eq. 5, the width under which these images
    are most likely. Its own derivative is zero there, so it is taken as a number.
    """
    error = (images - mean).square()
    variance = ranks.mean(error.detach().mean()).clamp(min=1e-6)  # a collection of one grey picture
    nats = (error / variance + (2 * math.pi * variance).log()) / 2
    return nats.sum(dim=(1, 2, 3)).mean(), variance.sqrt()


def kl_divergence(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mu, e^log_var) || N(0, 1)) of each latent number: 1312.6114, appendix B, (N, D)."""
    return (mu.square() + log_var.exp() - log_var - 1) / 2


def with_free_bits(divergence: Tensor, free_bits: float, ranks: Ranks = ALONE) -> Tensor:
    """Σ_j max(λ, E_x[KL_j]): 1606.04934, eq. 15, a group for each latent number; (N, D) => ()."""
    return ranks.mean(divergence.mean(dim=0)).clamp(min=free_bits).sum()


# ---------------------------------------------------------------- trainer


class Trainer(FamilyTrainer[VAEConfig]):
    """One update a step, of the bound with one draw of z for each image."""

    style_table = "decoder.style.weight"
    counters = ("beta",)

    def __init__(self, config: VAEConfig, shape: Shape, machine: Machine) -> None:
        super().__init__(config, shape, machine)
        vae = VAE(config, shape)
        initialise(vae, machine.rng)
        optimiser = partial(adam, learning_rate=config.learning_rate, betas=(0.9, 0.999))
        self.vae = self.network = self.add("vae", vae, optimiser)
        self.beta = config.beta

    def step(self, images: Tensor, labels: Tensor, accumulate: int) -> Scalars:
        """Report `loss`, `reconstruction_loss`, `kl_divergence` in nats an image, and `sigma`."""
        images = images.contiguous(memory_format=torch.channels_last)
        noise = self.machine.normal(len(images), self.config.latent_dim)
        parts = parts_of(accumulate, images, self.one_hot(labels), noise)
        with self.update("vae"):
            return self.accumulate(parts, self.losses)

    def losses(self, images: Tensor, styles: Tensor, noise: Tensor) -> tuple[Tensor, Scalars]:
        """The bound of images (N, 3, S, S) with z = μ + σ `noise` (N, latent_dim), negative."""
        mu, log_var = self.vae.encoder(images)
        z = mu + (log_var / 2).exp() * noise
        mean = self.vae.decoder(z, styles).float()
        ranks = self.machine.ranks
        reconstruction, sigma = reconstruction_loss(images, mean, ranks)
        divergence = kl_divergence(mu, log_var)
        bits = with_free_bits(divergence, self.config.free_bits, ranks)
        loss = reconstruction + self.beta * bits
        return loss, {
            "loss": loss,
            "reconstruction_loss": reconstruction,
            "kl_divergence": divergence.sum(dim=1).mean(),
            "sigma": sigma,
        }

    def remedy(self, trouble: Trouble) -> str:
        """Change β where pictures are alike or learnt by heart; else learn slower."""
        if trouble in ("collapse", "over-fitting"):
            self.beta *= 0.5 if trouble == "collapse" else 2.0
            return f"β now {self.beta:g}"
        self.set_learning_rate("vae", self.learning_rate("vae") * rate_factor(trouble))
        return f"learning rate now {self.learning_rate('vae'):g}"


# ---------------------------------------------------------------- sampler


class _Seen(NamedTuple):
    """A picture as the model reads it."""

    mu: Tensor
    log_var: Tensor
    style: Tensor
    """The style (K,) that explains it best."""


class Sampler:
    """Seeds, or a picture and seeds => pictures, through networks in evaluation mode."""

    def __init__(self, network: VAE, config: VAEConfig) -> None:
        self.network = network.eval()
        self.latent_dim = config.latent_dim
        self.device = next(network.parameters()).device

    def sample(self, request: Request[Options]) -> Tensor:
        """Make one picture for each seed, (n, 3, S, S) in [-1, 1], from the prior or a source.

        A source is varied by each seed, or on the way to another picture; where no style was asked
        for, its style is the one that explains it best. Raises `ValueError` for two ends.
        """
        if request.inputs.source is not None:
            return self._from_source(request, request.inputs.source)
        latents = draw_latents(request.seeds, self.latent_dim, request.options)
        return self._decode(latents, request.styles)

    def _from_source(self, request: Request[Options], source: Tensor) -> Tensor:
        options, second = request.options, request.inputs.towards_source
        if second is not None and options.towards_seed is not None:
            raise ValueError("towards_source, towards_seed: two ends; give one of them")
        mu, log_var, style = self._seen(source)
        noise = draw_latents(request.seeds, self.latent_dim, LatentOptions())
        latents = mu + options.spread * (log_var / 2).exp() * noise
        if second is not None:
            end = self._seen(second)
            latents = slerp(latents, end.mu, options.blend)
            style = torch.lerp(style, end.style, options.blend)
        elif options.towards_seed is not None:
            drawn = draw_latents([options.towards_seed], self.latent_dim, LatentOptions())[0]
            latents = slerp(latents, drawn, options.blend)
        is_own = request.inputs.has_own_style
        styles = style.expand_as(request.styles) if is_own else request.styles
        return self._decode(latents * options.truncation, styles)

    def _decode(self, latents: Tensor, styles: Tensor) -> Tensor:
        return in_fixed_batches(self.network.decoder, [latents, styles], self.device)

    @torch.no_grad()
    def _seen(self, source: Tensor) -> _Seen:
        """Encode a picture (3, H, W), and find its likeliest style."""
        picture = square(source, self.network.resolution)
        mu, log_var = (half[0].cpu() for half in self.network.encoder(picture.to(self.device)))
        every_style = torch.eye(self.network.decoder.style.in_features)
        made = self._decode(mu.expand(len(every_style), -1), every_style)
        errors = (made - picture).square().mean(dim=(1, 2, 3))
        return _Seen(mu, log_var, every_style[errors.argmin()])


# ---------------------------------------------------------------- export


def build_graphs(network: VAE, config: VAEConfig, shape: Shape) -> dict[str, Graph]:
    """z (N, latent_dim) and styles (N, K) => the decoder's pictures."""
    return {
        "model": Graph(
            network.decoder, {"z": ("N", config.latent_dim), "styles": ("N", shape.num_styles)}
        )
    }


METHOD = Method(Trainer, VAE, Sampler, build_graphs)
