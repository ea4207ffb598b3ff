"""StyleGAN2 with adaptive augmentation: losses, trainer, sampler; its networks are in networks.py.

References: Karras et al. 2019, "Analyzing and improving the image quality of StyleGAN", arXiv
1912.04958 (R1 and path length, both lazily); Karras, Laine, Aila 2018, arXiv 1812.04948 (mixing,
truncation); Karras et al. 2020, "Training generative adversarial networks with limited data", arXiv
2006.06676 (augmentation, in adaptive.py). Written from the papers. What is ours: one draw of
generated images serves both updates; penalties are added to the loss of the step in which they fall
due, so that Adam needs no correction; R1 is taken at the augmented images.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.families.latent import LatentOptions
from components.families.optimisers import adam, load_optimiser
from components.families.port import FamilyConfig, FamilyOptions, Inputs, Shape, Trouble
from components.families.sampling import draw_latents, in_fixed_batches, square
from components.families.stylegan2.adaptive import adjusted, augment
from components.families.stylegan2.config import Augmentation, Options, StyleGAN2Config
from components.families.stylegan2.networks import Discriminator, Generator, initialise
from components.families.stylegan2.projection import (
    Distance,
    project,
    pyramid_distance,
)
from components.families.styles import with_styles

BETAS = (0.0, 0.99)
ADJUSTED_EVERY = 4
"""Steps between two changes of p (section 3.1 of ADA)."""
PATH_MEAN_KEPT = 0.99
SMALLEST_TARGET = 0.2
STEP_OF_TARGET = 0.1

# ---------------------------------------------------------------- losses


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """E[‖∇ D(x)‖²] at real images, without γ/2 (Mescheder et al. 2018, arXiv 1801.04406)."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3)).mean()


def path_lengths(images: Tensor, w: Tensor, noise: Tensor) -> Tensor:
    """‖J_wᵀ y‖ of each image, (N,): eq. 4 of StyleGAN2; y is `noise`, of the images' shape.

    y is divided by the side of the images, so that a length does not depend on it.
    """
    side = images.shape[-1]
    (gradient,) = torch.autograd.grad((images * noise).sum() / side, w, create_graph=True)
    return gradient.square().sum(dim=1).sqrt()


def path_weight(resolution: int) -> float:
    """γ_pl = ln 2 / (r² (ln r - ln 2)), appendix B; r² is in `path_lengths` already."""
    return math.log(2) / (math.log(resolution) - math.log(2))


def mix(ws: Tensor, others: Tensor, cuts: Tensor) -> Tensor:
    """Styles (N, L, w_dim) whose layers from `cuts` (N,) on are the others': StyleGAN, 3.1."""
    places = torch.arange(ws.shape[1], device=ws.device)
    return torch.where((places >= cuts[:, None])[:, :, None], others, ws)


def truncate(ws: Tensor, average: Tensor, psi: float, layers: int | None) -> Tensor:
    """w̄ + ψ (w - w̄) in the first `layers` of (N, L, w_dim), or in all (StyleGAN, appendix B)."""
    truncated = torch.lerp(average.expand_as(ws), ws, psi)
    return torch.cat([truncated[:, :layers], ws[:, layers:]], dim=1) if layers else truncated


# ---------------------------------------------------------------- trainer


@dataclass(frozen=True)
class _Latents:
    """All that a batch of pictures is drawn from."""

    z: Tensor
    others: Tensor
    cuts: Tensor
    noises: list[Tensor]


class Trainer:
    """One discriminator and one generator update a step, on one draw of generated images."""

    def __init__(
        self,
        config: StyleGAN2Config,
        shape: Shape,
        device: torch.device,
        dtype: torch.dtype,
        rng: torch.Generator,
    ) -> None:
        self.config = config
        self.shape = shape
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
            name: adam(network.parameters(), config.learning_rate, BETAS)
            for name, network in networks.items()
        }
        self.num_steps = 0
        self.p = 0.0
        """The probability of each augmentation."""
        self.path_mean = torch.zeros((), device=device)
        self._signs: list[float] = []
        # What the remedies have changed.
        self.augment: Augmentation = config.augment
        self.target = config.ada_target
        self.learning_rate_scale = 1.0
        self._penalties: dict[str, Tensor] = {}

    def step(self, images: Tensor, labels: Tensor, accumulate: int) -> dict[str, Tensor]:
        """One update of each network, and of p at every fourth step."""
        styles = F.one_hot(labels, self.shape.num_styles).float()
        reals, rows = images.chunk(accumulate), styles.chunk(accumulate)
        with self._autocast():
            fakes = [self._generate(row) for row in rows]
        metrics = self._discriminator_step(reals, fakes, rows)
        metrics["generator_loss"] = self._generator_step(fakes, rows)
        self._adjust(metrics["real_sign"], len(images))
        self.num_steps += 1
        metrics["augment_probability"] = torch.tensor(self.p)
        return metrics | self._penalties

    def _generate(self, styles: Tensor) -> Tensor:
        """Pictures of fresh latents, with gradients; the average w follows."""
        latents = self._draw(len(styles))
        mapping, synthesis = self.generator.mapping, self.generator.synthesis
        w = mapping(latents.z, styles)
        self.generator.track(w)
        others = self.generator.spread(mapping(latents.others, styles))
        ws = mix(self.generator.spread(w), others, latents.cuts)
        return synthesis(ws, latents.noises)

    def _draw(self, count: int) -> _Latents:
        num_ws = self.generator.synthesis.num_ws
        z, others = torch.randn(2, count, self.config.latent_dim, generator=self.rng)
        cuts = torch.randint(1, num_ws, (count,), generator=self.rng)
        is_mixed = torch.rand(count, generator=self.rng) < self.config.mixing
        cuts = torch.where(is_mixed, cuts, torch.tensor(num_ws))
        noises = self.generator.synthesis.random_noise(count, self.rng)
        return _Latents(
            z.to(self.device),
            others.to(self.device),
            cuts.to(self.device),
            [noise.to(self.device) for noise in noises],
        )

    def _discriminator_step(
        self, reals: Sequence[Tensor], fakes: Sequence[Tensor], rows: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """Logistic loss, section 3.1 of Goodfellow et al. 2014, and R1 where it is due."""
        config = self.config
        self.optimisers["discriminator"].zero_grad(set_to_none=True)
        is_due = config.r1_gamma > 0 and self.num_steps % config.r1_interval == 0
        sums: dict[str, Tensor] = {}
        for real, fake, styles in zip(reals, fakes, rows, strict=True):
            real, fake = self._augmented(real), self._augmented(fake.detach())
            real.requires_grad_(is_due)
            with self._autocast():
                # Apart: the deviation's groups must not mix them, and R1 needs half the graph.
                real_logits = self.discriminator(real, styles)
                fake_logits = self.discriminator(fake, styles)
                loss = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
                found = {"discriminator_loss": loss}
                if is_due:
                    r1 = r1_penalty(real_logits, real)
                    loss = loss + config.r1_interval * config.r1_gamma / 2 * r1
                    self._penalties["r1_penalty"] = r1.detach()
            (loss / len(reals)).backward()
            found |= {"real_score": real_logits.mean(), "fake_score": fake_logits.mean()}
            found["real_sign"] = real_logits.sign().mean()
            for name, value in found.items():
                sums[name] = sums.get(name, 0.0) + value.detach() / len(reals)
        self._update("discriminator")
        return sums

    def _generator_step(self, fakes: Sequence[Tensor], rows: Sequence[Tensor]) -> Tensor:
        """The non-saturating logistic loss, and the path length where it is due."""
        self.optimisers["generator"].zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(False)
        total = torch.zeros((), device=self.device)
        for fake, styles in zip(fakes, rows, strict=True):
            seen = self._augmented(fake)
            with self._autocast():
                logits = self.discriminator(seen, styles)
                loss = F.softplus(-logits).mean() / len(fakes)
            loss.backward()
            total += loss.detach()
        self.discriminator.requires_grad_(True)
        config = self.config
        if config.path_length > 0 and self.num_steps % config.path_length_interval == 0:
            for styles in rows:
                self._regularise_path(styles[::2], len(rows))
        self._update("generator")
        return total

    def _regularise_path(self, styles: Tensor, parts: int) -> None:
        """E[(‖Jᵀ y‖ - a)²], a the lengths' running mean; on half the images, as the paper's B."""
        latents = self._draw(len(styles))
        w = self.generator.mapping(latents.z, styles)
        images = self.generator.synthesis(self.generator.spread(w), latents.noises)
        noise = torch.randn(images.shape, generator=self.rng).to(self.device)
        lengths = path_lengths(images, w, noise)
        self.path_mean.lerp_(lengths.detach().mean(), 1 - PATH_MEAN_KEPT)
        penalty = (lengths - self.path_mean).square().mean()
        weight = self.config.path_length * path_weight(self.shape.resolution)
        (penalty * weight * self.config.path_length_interval / parts).backward()
        self._penalties["path_penalty"] = penalty.detach()

    def _update(self, name: str) -> None:
        for group in self.optimisers[name].param_groups:
            group["lr"] = self.config.learning_rate * self.learning_rate_scale
        self.optimisers[name].step()

    def _adjust(self, real_sign: Tensor, count: int) -> None:
        if self.augment == "none":
            return
        self._signs.append(real_sign.item())
        if len(self._signs) == ADJUSTED_EVERY:
            mean = sum(self._signs) / ADJUSTED_EVERY
            images = count * ADJUSTED_EVERY
            self.p = adjusted(self.p, mean, self.target, images, self.config.ada_images)
            self._signs.clear()

    def _augmented(self, images: Tensor) -> Tensor:
        seen = images if self.augment == "none" else augment(images, self.p, self.rng)
        return seen.contiguous(memory_format=torch.channels_last)

    def _autocast(self) -> torch.autocast:
        is_reduced = self.dtype is not torch.float32
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=is_reduced)

    @torch.no_grad()
    def scores(self, images: Tensor, labels: Tensor) -> Tensor:
        """The discriminator's logits (N,) of images as they are, not augmented."""
        styles = F.one_hot(labels, self.shape.num_styles).float()
        return self.discriminator(images.contiguous(memory_format=torch.channels_last), styles)

    def remedy(self, trouble: Trouble) -> str:
        """More augmentation against learning by heart; else slower."""
        if trouble == "over-fitting":
            if self.augment == "none":
                self.augment = "ada"
                return "augmentation now ada"
            if self.target <= SMALLEST_TARGET:
                return ""
            self.target = max(SMALLEST_TARGET, self.target - STEP_OF_TARGET)
            return f"augmentation now for a mean sign of {self.target:g}"
        self.learning_rate_scale *= 0.1 if trouble in ("not a number", "divergence") else 0.5
        return f"learning rate × {self.learning_rate_scale:g}"

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
        self.generator.load_state_dict(_with_styles(weights, styles))
        if "discriminator" in companions:
            known = _with_styles(companions["discriminator"], styles)
            self.discriminator.load_state_dict(known)

    def state_dict(self) -> dict[str, object]:
        """Networks, optimisers, averages and counters; the noise's state is the loop's."""
        return {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
            "num_steps": self.num_steps,
            "p": self.p,
            "path_mean": self.path_mean,
            "signs": list(self._signs),
            "augment": self.augment,
            "target": self.target,
            "learning_rate_scale": self.learning_rate_scale,
            "penalties": dict(self._penalties),
        }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from `state_dict()`."""
        known = cast(Mapping[str, Any], state)
        self.generator.load_state_dict(known["generator"])
        self.discriminator.load_state_dict(known["discriminator"])
        for name, optimiser in self.optimisers.items():
            load_optimiser(optimiser, known["optimisers"][name])
        self.num_steps = known["num_steps"]
        self.p, self._signs = known["p"], list(known["signs"])
        self.path_mean = known["path_mean"].to(self.device, copy=True)
        self.augment, self.target = known["augment"], known["target"]
        self.learning_rate_scale = known["learning_rate_scale"]
        self._penalties = {name: v.to(self.device) for name, v in known["penalties"].items()}


def _with_styles(known: Mapping[str, Tensor], styles: Sequence[int | None]) -> Mapping[str, Tensor]:
    name = "mapping.embed.weight"
    return with_styles(known, name, styles) if name in known else known


# ---------------------------------------------------------------- sampler


class Sampler:
    """Seeds, and perhaps a picture to find in w, => pictures."""

    def __init__(
        self, network: Generator, config: StyleGAN2Config, distance: Distance = pyramid_distance
    ) -> None:
        self.network = network.eval()
        self.latent_dim = config.latent_dim
        self.device = network.w_avg.device
        self.distance = distance
        """What projection makes small; a perceptual distance can be put here."""

    def sample(self, seeds: Sequence[int], styles: Tensor, options: FamilyOptions) -> Tensor:
        """One picture a seed, (n, 3, S, S) in [-1, 1]."""
        chosen = cast(Options, options)
        z = self._latents(seeds)
        return self._render(self.network.mapping, [z, styles], seeds, styles, chosen)

    def sample_from(
        self, seeds: Sequence[int], styles: Tensor, options: FamilyOptions, inputs: Inputs
    ) -> Tensor:
        """As `sample`, of the w that makes the picture nearest to `inputs.source`.

        The search begins at the seed's own w (halfway from the average), so seeds give different
        findings. Everything that the options do to a seed's w they do to the one that was found.
        The source is cut to its middle square and resized.
        """
        if inputs.source is None:
            return self.sample(seeds, styles, options)
        chosen = cast(Options, options)
        target = self._fitted(inputs.source)
        found = [
            self._project(seed, row, target, chosen.projection_steps, inputs.tell)
            for seed, row in zip(seeds, styles, strict=True)
        ]
        return self._render(lambda w: w, [torch.stack(found)], seeds, styles, chosen)

    def _project(
        self,
        seed: int,
        style: Tensor,
        target: Tensor,
        steps: int,
        tell: Callable[[int, int], None] | None,
    ) -> Tensor:
        with torch.no_grad():
            z = self._latents([seed]).to(self.device)
            w = self.network.mapping(z, style[None].to(self.device))[0]
        start = torch.lerp(self.network.w_avg, w, 0.5)
        w, _ = project(
            self.network,
            target,
            steps,
            None if tell is None else lambda done, _: tell(done, steps),
            start=start,
            styles=style,
            distance=self.distance,
            seed=seed,
        )
        return w.cpu()

    def _fitted(self, source: Tensor) -> Tensor:
        """A picture (3, H, W) as the network's size has it."""
        if source.ndim != 3 or source.shape[0] != 3:
            raise ValueError(f"source: {tuple(source.shape)}; a picture is (3, H, W)")
        return square(source, self.network.synthesis.constant_noise()[-1].shape[-1])[0]

    def _latents(self, seeds: Sequence[int]) -> Tensor:
        return draw_latents(seeds, self.latent_dim, LatentOptions())

    def _render(
        self,
        to_w: Callable[..., Tensor],
        inputs: list[Tensor],
        seeds: Sequence[int],
        styles: Tensor,
        options: Options,
    ) -> Tensor:
        """Rows that `to_w` makes w of => pictures, with all that the options ask for."""
        mapping, synthesis = self.network.mapping, self.network.synthesis
        is_mixed = options.mix_seed is not None
        if is_mixed and options.mix_from_layer >= synthesis.num_ws:
            raise ValueError(
                f"mix_from_layer {options.mix_from_layer}: this model's last layer is "
                f"{synthesis.num_ws - 1}"
            )
        # Another seed's w is of each picture's own style; row by row, as all is computed.
        further = [
            self._latents([seed]).expand(len(seeds), -1)
            for seed in (options.towards_seed, options.mix_seed)
            if seed is not None
        ]
        drawn = self._noises(seeds) if options.noise == "seed" else []

        def picture(style: Tensor, *rows: Tensor) -> Tensor:
            remaining = list(rows)
            own = [remaining.pop(0) for _ in inputs]
            w = to_w(*own)
            if options.towards_seed is not None:
                w = torch.lerp(w, mapping(remaining.pop(0), style), options.blend)
            ws = self.network.spread(w)
            if is_mixed:
                others = self.network.spread(mapping(remaining.pop(0), style))
                cuts = torch.full((len(ws),), options.mix_from_layer, device=ws.device)
                ws = mix(ws, others, cuts)
            ws = truncate(ws, self.network.w_avg, options.truncation, options.truncation_layers)
            noises = remaining or (
                synthesis.constant_noise() if options.noise == "constant" else None
            )
            return synthesis(ws, noises)

        return in_fixed_batches(picture, [styles, *inputs, *further, *drawn], self.device)

    def _noises(self, seeds: Sequence[int]) -> list[Tensor]:
        """Noise (n, 1, side, side) for each layer: what a seed's stream has after its latent."""
        rows: list[list[Tensor]] = []
        for seed in seeds:
            rng = torch.Generator().manual_seed(seed)
            torch.randn(self.latent_dim, generator=rng)
            rows.append(self.network.synthesis.random_noise(1, rng))
        return [torch.cat(layer) for layer in zip(*rows, strict=True)]


# ---------------------------------------------------------------- the family's door


def build_trainer(
    config: FamilyConfig,
    shape: Shape,
    device: torch.device,
    dtype: torch.dtype,
    rng: torch.Generator,
) -> Trainer:
    """A fresh trainer, first weights drawn from `rng`."""
    return Trainer(cast(StyleGAN2Config, config), shape, device, dtype, rng)


def build_network(config: FamilyConfig, shape: Shape) -> nn.Module:
    """The generator, its weights still to be loaded."""
    return Generator(cast(StyleGAN2Config, config), shape)


def build_sampler(network: nn.Module, config: FamilyConfig) -> Sampler:
    """A sampler over a generator on its device."""
    return Sampler(cast(Generator, network), cast(StyleGAN2Config, config))
