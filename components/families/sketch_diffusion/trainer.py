# pyright: standard
"""One learning step: noise taken away, beside a critic and many pictures compared where asked."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.common.efficientnet import (
    NUM_POOLED,
    EfficientNetLite0,
    load_lite0,
    load_pooled_lite0,
)
from components.common.encoder import Representation
from components.common.tensors import tensor_of
from components.families import drawing
from components.families.augment import augment
from components.families.optimisers import adam
from components.families.port import Shape, Trouble
from components.families.sketch_diffusion.config import SketchDiffusionConfig
from components.families.sketch_diffusion.critic import (
    MIN_SIDE,
    Critic,
    critic_loss,
    enlarged,
    fooling_loss,
    mean_squares,
)
from components.families.sketch_diffusion.network import Denoiser, initialise, residual_branches
from components.families.sketch_diffusion.noise import (
    add_noise,
    draw_noise_levels,
    sampler_levels,
    shifted,
)
from components.families.sketch_diffusion.solvers import Estimate, dpmpp_2m_step
from components.families.sketch_diffusion.strokes import displaced, hints_of, mask_within, masked
from components.families.sketch_diffusion.transport import Transport, transport_loss
from components.families.sketch_diffusion.works import MEMORISED
from components.families.trainer import (
    FamilyTrainer,
    Machine,
    Scalars,
    frozen,
    in_memory_format,
    parts_of,
)

ERROR_BESIDE_CRITIC = 0.2
"""Weight of the squared error where a critic is applied: it would smooth what that sharpens."""
MIN_JUDGED_NOISE = 0.15
"""Noise under which nothing that a critic could tell is lost."""
SAMPLED_EVERY = 4
"""Interval between images of a batch that give way to the sampler's, for the critic alone."""
COMPARED_EVERY = 2
"""The same where many of them are compared with paintings."""
COMPARED_STEPS = 3
"""Last steps of the sampler that are learnt through where many pictures are compared; else one."""
CRITIC_LEARNING_RATE = 5e-4
MAX_GRADIENT = 1.0
REPRESENTATION_NOISE = 0.6
"""Largest deviation of the noise over a representation in training, in units of its own."""
UNTOLD = 0.15
"""Share of images learnt without their representation; of those shown strokes, `UNTOLD_DRAWN`."""
UNTOLD_DRAWN = 0.5


def perceptual_distance(network: nn.Module, found: Tensor, images: Tensor) -> Tensor:
    """Distance between pictures (N, 3, S, S) in a classifier's features: (N,) in [0, 4].

    Zhang et al. 2018, arXiv 1801.03924, eq. 1, all weights 1: squared differences between features
    of unit length, averaged over positions and layers.
    """
    with torch.no_grad():
        wanted = network(images)
    distances = [
        (F.normalize(one, dim=1) - F.normalize(other, dim=1)).square().sum(dim=1).mean(dim=(1, 2))
        for one, other in zip(network(found), wanted, strict=True)
    ]
    return torch.stack(distances).mean(dim=0)


class Rows(NamedTuple):
    """Rows of a batch to learn from: (N, …) each."""

    images: Tensor
    noisy: Tensor
    t: Tensor
    styles: Tensor
    mask: Tensor
    hints: Tensor
    codes: Tensor
    is_sampled: Tensor | None = None
    """True for rows whose `noisy` the sampler made, for the critic alone; None without a critic."""
    before: Tensor | None = None
    """Sampled rows: the estimate of x0 in the sampler's step before `noisy`."""


class Trainer(FamilyTrainer[SketchDiffusionConfig]):
    """One denoiser; each step takes noise away from one batch."""

    style_table = "style.weight"
    counters = ("images_seen", "learning_rate_scale")

    def __init__(self, config: SketchDiffusionConfig, shape: Shape, machine: Machine) -> None:
        super().__init__(config, shape, machine)
        denoiser = Denoiser(config, shape)
        initialise(denoiser, machine.rng)
        if denoiser.detail is not None and config.detail_only:
            denoiser.requires_grad_(False)
            denoiser.detail.requires_grad_(True)
        # Momentum would push on against what a critic has changed its mind about.
        betas = (0.0 if config.adversarial else 0.9, 0.99)
        optimiser = partial(adam, learning_rate=config.learning_rate, betas=betas)
        self.denoiser = self.network = self.add("network", denoiser, optimiser)
        self.perception: EfficientNetLite0 | None = None
        if config.perceptual or config.adversarial:
            perception = load_lite0().to(machine.device)
            self.perception = in_memory_format(perception, torch.channels_last)
        self.critic: Critic | None = None
        if config.adversarial:
            critic = Critic(EfficientNetLite0.CHANNELS, shape.num_styles, machine.rng)
            optimiser = partial(adam, learning_rate=CRITIC_LEARNING_RATE, betas=(0.0, 0.99))
            self.critic = self.add("critic", critic, optimiser)
            self.average_ramp_up = 0.5  # against a critic the weights swing
        self.shown: list[tuple[Tensor, ...]] = []  # to the critic, in this step
        self.transport: Transport | None = None
        if config.adversarial and config.frechet:
            self.transport = Transport(NUM_POOLED).to(machine.device)
            self.counters = (*self.counters, "transport")
            pooled = load_pooled_lite0().to(machine.device)
            self.pooled = in_memory_format(pooled, torch.channels_last)
        self.sampled: list[Tensor] = []  # features of what was sampled, in this step
        self.represent: Representation | None = None
        if config.representation != "none":
            represent = Representation().to(machine.device)
            self.represent = in_memory_format(represent, torch.channels_last)
        self.images_seen = 0
        self.learning_rate_scale = 1.0  # what the remedies change

    def step(self, images: Tensor, labels: Tensor, accumulate: int) -> Scalars:
        """One update; the loss is the squared error of x0 in units of the linear estimate's."""
        self._anneal()
        if self.config.flip:
            images = augment(images, "flip", self.machine.draws)
        mask, hints = self._strokes(images)
        count, schedule = self.count_of(images), self.config.schedule
        t = self.machine.ranks.rows(draw_noise_levels(count, schedule, self.machine.rng))
        t = shifted(t, self.config.noise_shift).to(self.machine.device)
        noisy = add_noise(images, self.machine.normal(*images.shape), t)
        if self.config.conditioning == "radius_mask":
            noisy = masked(noisy, mask, self.denoiser.noise)
        styles = self.one_hot(labels) * self._kept(len(labels), self.config.style_dropout)
        codes = self._representations(images, labels, hints)
        rows = Rows(images, noisy, t, styles, mask, hints, codes)
        if self.critic is not None:
            self._prepare(self.critic, images)
            rows = self._with_sampled(rows, labels, self._is_sampled(count))
        parts = parts_of(accumulate, *(row for row in rows if row is not None))
        with self.update("network", max_norm=MAX_GRADIENT):
            scalars = self.accumulate(parts, self._loss)
        if self.critic is not None:
            with self.update("critic"):
                scalars |= self.accumulate(self.shown, partial(self._critic_loss, self.critic))
        if self.transport is not None:
            self._compare(self.transport, images)
        self.images_seen += count
        return scalars

    def _representations(self, images: Tensor, labels: Tensor, hints: Tensor) -> Tensor:
        """Representations of the images, as the network is told them: (N, 64), or (N, 0) for none.

        They are given with noise, so that it learns to take a point near a work too, and left out
        for a random share of images.
        """
        if self.represent is None or self.denoiser.works is None:
            return images.new_zeros(len(images), 0)
        codes = self.represent(images)
        works = self.denoiser.works
        if not (self.config.detail_only and works.is_full):
            for rows in zip(*map(self.machine.ranks.gather, (codes, labels)), strict=True):
                works.remember(*rows)
        deviation = REPRESENTATION_NOISE * self.machine.uniform(len(codes), 1)
        is_drawn = hints.flatten(1).any(dim=1, keepdim=True)
        is_told = self.machine.uniform(len(codes), 1) >= torch.where(is_drawn, UNTOLD_DRAWN, UNTOLD)
        return (codes + deviation * self.machine.normal(*codes.shape)) * is_told

    def _loss(self, *part: Tensor) -> tuple[Tensor, Scalars]:
        rows = self._at_last_level(Rows(*part))
        images, noisy, t, styles, mask, hints, codes, is_sampled, _ = rows
        found = self.denoiser(noisy, t, styles, mask, hints, codes)
        errors = self.denoiser.in_units(found - images, t, mask).square()
        weak = t <= self.config.perceptual_noise
        is_judged = torch.zeros_like(weak)
        if is_sampled is not None:
            is_judged = (t > MIN_JUDGED_NOISE) & (t <= self.config.adversarial_noise)
            weights = torch.where(is_judged, ERROR_BESIDE_CRITIC, 1.0) * ~is_sampled
            errors = errors * weights[:, None, None, None]
            weak, is_judged = weak & ~is_sampled, is_judged | is_sampled
        loss = errors.mean()
        if self.perception is not None and self.config.perceptual and weak.any():
            with torch.autocast(self.machine.device.type, enabled=False):
                far = perceptual_distance(self.perception, found[weak], images[weak])
            loss = loss + self.config.perceptual * far.sum() / len(t)
        if self.critic is not None:
            fooling = self._fooling(self.critic, found, images, styles, is_judged)
            loss = loss + self.config.adversarial * fooling.sum() / len(t)
        if self.transport is not None:
            far = self._way_to_go(self.transport, found[is_sampled])
            loss = loss + self.config.frechet * far.sum() / len(t)
        return loss, {"loss": loss}

    # ------------------------------------------------------------ critic

    def _is_sampled(self, count: int) -> Tensor:
        """Mask (n,) of the rows of a batch of `count` that give way to what the sampler makes."""
        every = COMPARED_EVERY if self.config.frechet else SAMPLED_EVERY
        rows = self.machine.ranks.rows(torch.arange(count) % every == 0)
        return rows.to(self.machine.device)

    @torch.no_grad()
    def _with_sampled(self, rows: Rows, labels: Tensor, chosen: Tensor) -> Rows:
        """The rows of a batch, of which the `chosen` are replaced by what the sampler makes.

        So the critic sees what the network makes of its own pictures, where nobody knows the right
        answer. They are told of the images in whose place they stand, and are as far as they can be
        brought without gradients; `_at_last_level` takes them on.
        """
        noise = self.machine.normal(*rows.images.shape)[chosen]
        told = rows.codes[chosen]
        if self.represent is not None:
            told = self.represent(rows.images[chosen])
        levels = self._sampled_levels()
        asked = Rows(
            images=rows.images[chosen],
            noisy=noise,
            t=rows.t[chosen],
            styles=self.one_hot(labels)[chosen],
            mask=torch.ones_like(rows.mask[chosen]),
            hints=torch.zeros_like(rows.hints[chosen]),
            codes=told,
        )
        with self.machine.autocast():
            x, before = self._sampled_on(asked, levels[: len(levels) + 1 - self._learnt_steps])
        assert before is not None
        return Rows(
            images=rows.images,
            noisy=_in_place_of(chosen, rows.noisy, x),
            t=rows.t.masked_fill(chosen, levels[-1]),
            styles=_in_place_of(chosen, rows.styles, asked.styles),
            mask=_in_place_of(chosen, rows.mask, asked.mask),
            hints=_in_place_of(chosen, rows.hints, asked.hints),
            codes=_in_place_of(chosen, rows.codes, asked.codes),
            is_sampled=chosen,
            before=_in_place_of(chosen, torch.zeros_like(rows.noisy), before[0]),
        )

    def _sampled_levels(self) -> list[float]:
        """The sampler's own noise levels, without the 0 at their end."""
        return sampler_levels(self.config)[:-1]

    @property
    def _learnt_steps(self) -> int:
        return COMPARED_STEPS if self.config.frechet else 1

    def _sampled_on(
        self, rows: Rows, levels: Sequence[float], before: Estimate | None = None
    ) -> tuple[Tensor, Estimate | None]:
        """`noisy` taken from the first level to the last, and the last estimate on the way."""
        x = rows.noisy
        for t, s in pairwise(levels):
            at = torch.full((len(x),), t, device=x.device)
            x0 = self.denoiser(x, at, rows.styles, rows.mask, rows.hints, rows.codes).clamp(-1, 1)
            x = dpmpp_2m_step(x, x0, t, s, before)
            before = x0, t
        return x, before

    def _at_last_level(self, rows: Rows) -> Rows:
        """The rows, the sampled ones taken to the sampler's last level, with gradients."""
        chosen = rows.is_sampled
        if chosen is None or rows.before is None or not chosen.any():
            return rows
        asked = Rows(*(row[chosen] for row in rows[:7]))  # all but is_sampled and before
        levels, learnt = self._sampled_levels(), self._learnt_steps
        before = rows.before[chosen], levels[-learnt - 1]
        x, _ = self._sampled_on(asked, levels[-learnt:], before)
        return rows._replace(noisy=_in_place_of(chosen, rows.noisy, x))

    @torch.no_grad()
    def _prepare(self, critic: Critic, images: Tensor) -> None:
        """Bound the critic's layers; before its first step set its scales by the real pictures."""
        self.shown = []
        if int(critic.steps) == 0:
            squares = mean_squares(self._perceived(images))
            critic.set_scales([self.machine.ranks.mean(square) for square in squares])
        critic.refine()

    def _fooling(
        self, critic: Critic, found: Tensor, images: Tensor, styles: Tensor, is_judged: Tensor
    ) -> Tensor:
        """Loss for fooling the critic, one a judged row (n,); those rows are kept for the critic.

        A picture and its painting are moved alike at random, so that the critic does not learn a
        small collection by heart.
        """
        both = augment(torch.cat([found, images], dim=1), "light", self.machine.draws)
        found, images = both[is_judged].split(3, dim=1)
        styles = styles[is_judged]
        self.shown.append((found.detach(), images, styles, is_judged))
        if not critic.is_ready or not len(found):
            return found.new_zeros(1)
        with frozen(critic):
            return fooling_loss(critic(self._perceived(found), styles))

    def _perceived(self, images: Tensor) -> list[Tensor]:
        assert self.perception is not None
        seen = enlarged(images).contiguous(memory_format=torch.channels_last)
        return self.perception(seen)

    def _critic_loss(
        self, critic: Critic, found: Tensor, images: Tensor, styles: Tensor, is_judged: Tensor
    ) -> tuple[Tensor, Scalars]:
        """Loss of the critic: as the network's, a sum over the judged rows by the number of all."""
        if not len(found):  # no row of this part is under weak noise
            loss = torch.stack([weight.sum() for weight in critic.parameters()]).sum() * 0
            return loss, {"critic_loss": loss}
        with torch.no_grad():
            features = self._perceived(torch.cat([found.float(), images]))
        loss = critic_loss(critic(features, styles.repeat(2, 1))).sum() / len(is_judged)
        return loss, {"critic_loss": loss}

    # ------------------------------------------------------------ many pictures together

    def _way_to_go(self, transport: Transport, found: Tensor) -> Tensor:
        """Loss of sampled pictures' features (n,); they are kept for the next map."""
        features = self._pooled(found) if len(found) else found.new_zeros(0, NUM_POOLED)
        self.sampled.append(features.detach())
        if not transport.is_ready or not len(found):
            return features.new_zeros(1)
        with torch.autocast(self.machine.device.type, enabled=False):
            return transport_loss(features, transport(features.detach()))

    @torch.no_grad()
    def _compare(self, transport: Transport, images: Tensor) -> None:
        """Take what was sampled in this step, and its paintings, into the comparison."""
        gather = self.machine.ranks.gather
        sampled, self.sampled = torch.cat(self.sampled), []
        transport.add(torch.cat(gather(sampled)), torch.cat(gather(self._pooled(images))))

    def _pooled(self, images: Tensor) -> Tensor:
        """Features (N, 1280) of whole pictures, at the size that a judge takes.

        In float32, since small differences of means over many are compared.
        """
        with torch.autocast(self.machine.device.type, enabled=False):
            seen = F.interpolate(
                images.float(), (MIN_SIDE, MIN_SIDE), mode="bicubic", antialias=True
            )
            seen = seen.clamp(-1, 1).contiguous(memory_format=torch.channels_last)
            return self.pooled(seen)

    def _anneal(self) -> None:
        """Up from nothing over the first images, then down along half a cosine."""
        config = self.config
        left = 0.5 + 0.5 * math.cos(math.pi * min(1.0, self.images_seen / config.anneal_images))
        rate = config.final_learning_rate + left * (
            config.learning_rate - config.final_learning_rate
        )
        if self.images_seen < config.warm_up_images:
            rate *= (self.images_seen + config.batch_size) / (
                config.warm_up_images + config.batch_size
            )
        self.set_learning_rate("network", rate * self.learning_rate_scale)

    def _strokes(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The mask of noise (N, 1, S, S) and hints (N, 0 or 2, S, S), from the images' own lines.

        «Masks of noises with a randomly chosen radius»: uniform between the config's two. Some
        images are learnt without, so that the network also works without a drawing.
        """
        count, _, side, _ = images.shape
        device = self.machine.device
        everywhere = torch.ones(count, 1, side, side, device=device)
        nothing = images.new_zeros(count, self.denoiser.num_hints, side, side)
        config = self.config
        if not config.takes_strokes:
            return everywhere, nothing
        radius = self.machine.draws.uniform(count)
        radius = config.min_radius + radius * (config.max_radius - config.min_radius)
        strokes = drawing.strokes_of_pictures(images.cpu().numpy())
        is_drawn = tensor_of(np.asarray(strokes.any(axis=(1, 2, 3))))[:, None, None, None]
        kept = self._kept(count, config.sketch_dropout)[:, :, None, None] * is_drawn.to(device)
        if config.conditioning == "radius_mask":
            near = mask_within(tensor_of(drawing.distances(strokes)), radius)
            return torch.where(kept > 0, near.to(device), everywhere), nothing
        least = np.float32(config.fewest_lines)
        shares = least + (1 - least) * self._draw(count)
        strokes = drawing.leave_out(strokes, shares, self._draw(count, 64))
        far = displaced(tensor_of(drawing.distances(strokes)), radius, self.machine.draws)
        return everywhere, hints_of(far, radius).to(device) * kept

    def _draw(self, *shape: int) -> drawing.Floats:
        return self.machine.draws.uniform(*shape).numpy()

    def _kept(self, count: int, dropout: float) -> Tensor:
        """1 or, for a random share, 0: (count, 1)."""
        return (self.machine.uniform(count, 1) >= dropout).float()

    def remedy(self, trouble: Trouble) -> str:
        """Learn slower, whatever the trouble."""
        self.learning_rate_scale *= 0.5
        return f"learning rate × {self.learning_rate_scale:g}"

    def first_weights(
        self,
        weights: Mapping[str, Tensor],
        styles: Sequence[int | None],
        config: SketchDiffusionConfig,
    ) -> Mapping[str, Tensor]:
        """As every family; residual branches that the other network lacks keep their first weights.

        Those change nothing: a deeper network goes on from where a shallower one was (Chen,
        Goodfellow, Shlens 2015, arXiv 1511.05641). A level of detail that it lacks is new as well,
        around the network for pictures half as large. The works that it learnt from are forgotten,
        unless the detail alone is learnt, in the same styles.
        """
        known = super().first_weights(weights, styles, config)
        left = {f"works.{name}" for name in MEMORISED}
        if self.config.detail_only and list(styles) == [*range(len(weights[self.style_table][0]))]:
            left = set[str]()
        if self.denoiser.works is None:
            left = {name for name in known if name.startswith("works.")}
        new = residual_branches(self.denoiser)
        if self.denoiser.detail is not None and not config.detail_channels:
            left.add("noise")  # of a smaller picture
            new["noise"] = self.denoiser.noise
        kept = {name: weight for name, weight in known.items() if name not in left}
        return {**new, **kept}

    def companion_weights(
        self,
        weights: Mapping[str, Tensor],
        styles: Sequence[int | None],
        config: SketchDiffusionConfig,
    ) -> Mapping[str, Tensor]:
        """The critic's, for this training's styles."""
        return super().first_weights(weights, styles, config)


def _in_place_of(chosen: Tensor, rows: Tensor, new: Tensor) -> Tensor:
    """Rows (N, …) with `new` (n, …) where `chosen` (N,) is true."""
    return rows.masked_scatter(chosen.view(-1, *[1] * (rows.ndim - 1)), new)
