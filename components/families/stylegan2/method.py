"""StyleGAN2 with adaptive augmentation: losses, trainer, sampler; its networks are in networks.py.

References: Karras et al. 2019, "Analyzing and improving the image quality of StyleGAN", arXiv
1912.04958 (R1 and path length, both lazily); Karras, Laine, Aila 2018, arXiv 1812.04948 (mixing,
truncation); Karras et al. 2020, "Training generative adversarial networks with limited data", arXiv
2006.06676 (augmentation, in adaptive.py). Written from the papers. What is ours: one draw of
generated images serves both updates; penalties are added to the loss of the step in which they fall
due, so that Adam needs no correction; R1 is taken at the augmented images.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from components.families.draws import Draws
from components.families.latent import LatentOptions
from components.families.optimisers import adam
from components.families.port import Graph, Method, NetworkT, Request, Shape, Trouble
from components.families.ranks import Ranks
from components.families.sampling import draw_latents, in_fixed_batches, square
from components.families.stylegan2.adaptive import adjusted, augment
from components.families.stylegan2.config import Augmentation, Options, StyleGAN2Config
from components.families.stylegan2.networks import Discriminator, Generator, initialise
from components.families.stylegan2.projection import Distance, project, pyramid_distance
from components.families.trainer import (
    FamilyTrainer,
    Machine,
    Scalars,
    frozen,
    parts_of,
    rate_factor,
)

BETAS = (0.0, 0.99)
ADJUSTED_EVERY = 4
"""Steps between two changes of p (section 3.1 of ADA)."""
PATH_MEAN_KEPT = 0.99
MIN_TARGET = 0.2
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


def check_share(config: StyleGAN2Config, ranks: Ranks) -> None:
    """Refuse ranks whose rows would not be whole groups of the minibatch deviation.

    Path lengths are taken of every second image, so that the rows must be even in number too.
    """
    if ranks.is_alone:
        return
    whole = config.batch_size
    group = next(n for n in range(min(config.deviation_group, whole), 0, -1) if whole % n == 0)
    unit = math.lcm(group, 2) if config.path_length else group
    if whole // ranks.count % unit:
        raise ValueError(
            f"batch_size {whole} over {ranks.count} ranks: each needs a multiple of {unit} images; "
            f"choose a multiple of {unit * ranks.count}"
        )


@dataclass(frozen=True)
class _Latents:
    """All that a batch of pictures is drawn from."""

    z: Tensor
    others: Tensor
    cuts: Tensor
    noises: list[Tensor]


class Trainer(FamilyTrainer[StyleGAN2Config]):
    """One discriminator and one generator update a step, on one draw of generated images."""

    style_table = "mapping.embed.weight"
    counters = (
        "num_steps",
        "p",
        "path_mean",
        "signs",
        "augment",
        "target",
        "learning_rate_scale",
        "penalties",
    )

    def __init__(self, config: StyleGAN2Config, shape: Shape, machine: Machine) -> None:
        check_share(config, machine.ranks)
        super().__init__(config, shape, machine)
        self.generator = self._new("generator", Generator(config, shape))
        self.discriminator = self._new("discriminator", Discriminator(config, shape))
        self.network = self.generator
        self.num_steps = 0
        self.p = 0.0
        """The probability of each augmentation."""
        self.signs: list[float] = []
        """Mean signs of the real images' scores since p was last adjusted."""
        self.path_mean = torch.zeros((), device=machine.device)
        self.penalties: Scalars = {}
        # What the remedies change.
        self.augment: Augmentation = config.augment
        self.target = config.ada_target
        self.learning_rate_scale = 1.0

    def _new(self, name: str, network: NetworkT) -> NetworkT:
        initialise(network, self.machine.rng)
        optimiser = partial(adam, learning_rate=self.config.learning_rate, betas=BETAS)
        return self.add(name, network, optimiser)

    def step(self, images: Tensor, labels: Tensor, accumulate: int) -> Scalars:
        """One update of each network, and of p at every fourth step."""
        for name in self.optimisers:
            self.set_learning_rate(name, self.config.learning_rate * self.learning_rate_scale)
        parts = parts_of(accumulate, images, self.one_hot(labels))
        with self.machine.autocast():
            fakes = [(self._generate(styles), styles) for _, styles in parts]
        seen = [
            (real, fake, styles) for (real, styles), (fake, _) in zip(parts, fakes, strict=True)
        ]
        with self.update("discriminator"):
            scalars = self.accumulate(seen, self._discriminator_loss)
        if "r1_penalty" in scalars:
            self.penalties["r1_penalty"] = scalars["r1_penalty"]
        with self.update("generator"):
            with frozen(self.discriminator):
                scalars |= self.accumulate(fakes, self._generator_loss)
            self._regularise_paths([styles[::2] for _, styles in parts])
        self._adjust(scalars["real_sign"], self.count_of(images))
        self.num_steps += 1
        return scalars | {"augment_probability": torch.tensor(self.p)} | self.penalties

    def _generate(self, styles: Tensor) -> Tensor:
        """Pictures of fresh latents, with gradients; the average w follows."""
        latents = self._draw(len(styles))
        mapping, synthesis = self.generator.mapping, self.generator.synthesis
        w = mapping(latents.z, styles)
        self.generator.track(self.machine.ranks.mean(w.detach().mean(dim=0)))
        others = self.generator.spread(mapping(latents.others, styles))
        ws = mix(self.generator.spread(w), others, latents.cuts)
        return synthesis(ws, latents.noises)

    def _draw(self, count: int) -> _Latents:
        num_ws, draws = self.generator.synthesis.num_ws, self.machine.draws
        z, others = self.machine.normal(2, count, self.config.latent_dim, axis=1)
        cuts = draws.integers(1, num_ws, count)
        is_mixed = draws.uniform(count) < self.config.mixing
        cuts = torch.where(is_mixed, cuts, torch.tensor(num_ws)).to(self.machine.device)
        noises = self.generator.synthesis.random_noise(count, draws)
        return _Latents(z, others, cuts, [noise.to(self.machine.device) for noise in noises])

    def _discriminator_loss(
        self, real: Tensor, fake: Tensor, styles: Tensor
    ) -> tuple[Tensor, Scalars]:
        """Logistic loss, section 3.1 of Goodfellow et al. 2014, and R1 where it is due."""
        config = self.config
        is_due = config.r1_gamma > 0 and self.num_steps % config.r1_interval == 0
        real, fake = self._augmented(real).requires_grad_(is_due), self._augmented(fake.detach())
        # Apart: the deviation's groups must not mix them, and R1 needs half the graph.
        real_logits = self.discriminator(real, styles)
        fake_logits = self.discriminator(fake, styles)
        loss = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
        scalars = {
            "discriminator_loss": loss,
            "real_score": real_logits.mean(),
            "fake_score": fake_logits.mean(),
            "real_sign": real_logits.sign().mean(),
        }
        if is_due:
            r1 = r1_penalty(real_logits, real)
            loss = loss + config.r1_interval * config.r1_gamma / 2 * r1
            scalars["r1_penalty"] = r1
        return loss, scalars

    def _generator_loss(self, fake: Tensor, styles: Tensor) -> tuple[Tensor, Scalars]:
        """The non-saturating logistic loss."""
        loss = F.softplus(-self.discriminator(self._augmented(fake), styles)).mean()
        return loss, {"generator_loss": loss}

    def _regularise_paths(self, parts: Sequence[Tensor]) -> None:
        """Add the gradient of E[(‖Jᵀ y‖ - a)²] where it is due, in float32.

        a is the lengths' running mean. On half the images of a batch, as the paper's B.
        """
        config = self.config
        if not config.path_length or self.num_steps % config.path_length_interval:
            return
        weight = config.path_length * path_weight(self.shape.resolution)
        for styles in parts:
            penalty = self._path_penalty(styles)
            (penalty * weight * config.path_length_interval / len(parts)).backward()  # pyright: ignore[reportUnknownMemberType]
            self.penalties["path_penalty"] = self.machine.ranks.mean(penalty.detach())

    def _path_penalty(self, styles: Tensor) -> Tensor:
        latents = self._draw(len(styles))
        w = self.generator.mapping(latents.z, styles)
        images = self.generator.synthesis(self.generator.spread(w), latents.noises)
        lengths = path_lengths(images, w, self.machine.normal(*images.shape))
        mean = self.machine.ranks.mean(lengths.detach().mean())
        self.path_mean.lerp_(mean, 1 - PATH_MEAN_KEPT)
        return (lengths - self.path_mean).square().mean()

    def _adjust(self, real_sign: Tensor, count: int) -> None:
        if self.augment == "none":
            return
        self.signs.append(real_sign.item())
        if len(self.signs) == ADJUSTED_EVERY:
            mean = sum(self.signs) / ADJUSTED_EVERY
            images = count * ADJUSTED_EVERY
            self.p = adjusted(self.p, mean, self.target, images, self.config.ada_images)
            self.signs.clear()

    def _augmented(self, images: Tensor) -> Tensor:
        seen = images if self.augment == "none" else augment(images, self.p, self.machine.draws)
        return seen.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def scores(self, images: Tensor, labels: Tensor) -> Tensor:
        """The discriminator's logits (N,) of images as they are, not augmented."""
        images = images.contiguous(memory_format=torch.channels_last)
        return self.discriminator(images, self.one_hot(labels))

    def remedy(self, trouble: Trouble) -> str:
        """Augment more against over-fitting; else learn slower."""
        if trouble == "over-fitting":
            if self.augment == "none":
                self.augment = "ada"
                return "augmentation now ada"
            if self.target <= MIN_TARGET:
                return ""
            self.target = max(MIN_TARGET, self.target - STEP_OF_TARGET)
            return f"augmentation now for a mean sign of {self.target:g}"
        self.learning_rate_scale *= rate_factor(trouble)
        return f"learning rate × {self.learning_rate_scale:g}"


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
        """Distance that projection makes small; a perceptual one can be put here."""

    def sample(self, request: Request[Options]) -> Tensor:
        """Make one picture for each seed, (n, 3, S, S) in [-1, 1].

        With a source, of the w that makes the picture nearest to it. The search begins at the
        seed's own w (halfway from the average), so seeds give different findings. Everything that
        the options do to a seed's w they do to the one that was found. The source is cut to its
        middle square and resized.
        """
        self._check(request.options)
        if request.inputs.source is None:
            z = self._latents(request.seeds)
            return self._paint(request, self.network.mapping, [z, request.styles])
        target = self._fitted(request.inputs.source)
        found = [
            self._project(seed, row, target, request)
            for seed, row in zip(request.seeds, request.styles, strict=True)
        ]
        return self._paint(request, lambda w: w, [torch.stack(found)])  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType]

    def _check(self, options: Options) -> None:
        last = self.network.synthesis.num_ws - 1
        if options.mix_seed is not None and options.mix_from_layer > last:
            raise ValueError(
                f"mix_from_layer {options.mix_from_layer}: this model's last layer is {last}"
            )
        if options.truncation_layers is not None and options.truncation_layers > last + 1:
            raise ValueError(
                f"truncation_layers {options.truncation_layers}: this model has {last + 1} layers"
            )

    def _project(
        self, seed: int, style: Tensor, target: Tensor, request: Request[Options]
    ) -> Tensor:
        steps = request.options.projection_steps
        with torch.no_grad():
            z = self._latents([seed]).to(self.device)
            w = self.network.mapping(z, style[None].to(self.device))[0]
        start = torch.lerp(self.network.w_avg, w, 0.5)
        w, _ = project(
            self.network,
            target,
            steps,
            lambda done, _: request.tell(done, steps),
            start=start,
            styles=style,
            distance=self.distance,
            seed=seed,
        )
        return w.cpu()

    def _fitted(self, source: Tensor) -> Tensor:
        """A picture (3, H, W) fitted to the network's size."""
        if source.ndim != 3 or source.shape[0] != 3:
            raise ValueError(f"source: {tuple(source.shape)}; a picture is (3, H, W)")
        return square(source, self.network.synthesis.constant_noise()[-1].shape[-1])[0]

    def _latents(self, seeds: Sequence[int]) -> Tensor:
        return draw_latents(seeds, self.latent_dim, LatentOptions())

    def _paint(
        self, request: Request[Options], to_w: Callable[..., Tensor], inputs: Sequence[Tensor]
    ) -> Tensor:
        """Make pictures of the w that `to_w` makes of each row of `inputs`, as the options ask."""
        options, seeds = request.options, request.seeds
        # Another seed's w is of each picture's own style; row by row, as all is computed.
        towards, mixed = (
            [] if seed is None else [self._latents([seed]).expand(len(seeds), -1)]
            for seed in (options.towards_seed, options.mix_seed)
        )
        drawn = self._noises(seeds) if options.noise == "seed" else []
        rows = _Rows(len(inputs), len(towards), len(mixed))

        def picture(style: Tensor, *given: Tensor) -> Tensor:
            own, others, mixes, noises = rows.split(given)
            w = to_w(*own)
            for z in others:
                w = torch.lerp(w, self.network.mapping(z, style), options.blend)
            ws = self.network.spread(w)
            for z in mixes:
                ws = self._mixed(ws, self.network.mapping(z, style), options.mix_from_layer)
            ws = truncate(ws, self.network.w_avg, options.truncation, options.truncation_layers)
            return self.network.synthesis(ws, noises or self._fixed_noise(options))

        given = [request.styles, *inputs, *towards, *mixed, *drawn]
        return in_fixed_batches(picture, given, self.device)

    def _mixed(self, ws: Tensor, w: Tensor, from_layer: int) -> Tensor:
        cuts = torch.full((len(ws),), from_layer, device=ws.device)
        return mix(ws, self.network.spread(w), cuts)

    def _fixed_noise(self, options: Options) -> list[Tensor] | None:
        return self.network.synthesis.constant_noise() if options.noise == "constant" else None

    def _noises(self, seeds: Sequence[int]) -> list[Tensor]:
        """Noise (n, 1, side, side) for each layer: what a seed's stream has after its latent."""
        rows: list[list[Tensor]] = []
        for seed in seeds:
            rng = torch.Generator().manual_seed(seed)
            torch.randn(self.latent_dim, generator=rng)
            rows.append(self.network.synthesis.random_noise(1, Draws(rng)))
        return [torch.cat(layer) for layer in zip(*rows, strict=True)]


class _Rows(NamedTuple):
    """Numbers of tensors of each kind that a batch of pictures is made from."""

    own: int
    """Number of tensors that w is made of."""
    towards: int
    mixed: int

    def split(self, rows: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Sort rows by kind; what remains is noise, one tensor for each layer."""
        ends = list(itertools.accumulate(self))
        cuts = zip([0, *ends], [*ends, len(rows)], strict=True)
        return tuple(list(rows[first:last]) for first, last in cuts)


# ---------------------------------------------------------------- export


def build_graphs(network: Generator, config: StyleGAN2Config, shape: Shape) -> dict[str, Graph]:
    """z (N, latent_dim) and styles (N, K) => pictures, with the model's own noise."""
    return {
        "model": Graph(network, {"z": ("N", config.latent_dim), "styles": ("N", shape.num_styles)})
    }


METHOD = Method(Trainer, Generator, Sampler, build_graphs)
