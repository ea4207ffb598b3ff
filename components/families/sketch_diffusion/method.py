# pyright: standard
"""Sketch-guided diffusion, read top to bottom: noise, drawings, trainer, samplers.

Reference: paper 004, whose sentences are quoted where a piece follows them. Noise is laid as
x_t = (1-t) x0 + t ε (the straight path of Liu, Gong, Liu 2022, arXiv 2209.03003, and Lipman et al.
2022, arXiv 2210.02747). The paper does not say how it lays noise; on this path alone «0 means that
the picture is wholly replaced» holds exactly: its intensity k is t = 1 - k/16.

The four conditionings of the config:

- `none`: «random noise … laid over the input picture with a random level of intensity». Pictures
  are made «from a random set of noises», and a drawing is refused.
- `noised_image`: trained as `none`, to the bit. Begins with the drawing «with noises laid over it
  of decreasing intensity», at the one chosen; this is SDEdit (Meng et al. 2021, arXiv 2108.01073).
- `radius_mask`: the paper's method, see `masked`. «Instead of the usual laying of random noises …
  masks of noises with a randomly chosen radius and varying intensity were used, while the other
  stages of training stayed unchanged.»
- `guided`: ours. Noise everywhere, so that everything can vary; the strokes are shown to the
  network as two further channels, see `hints_of`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
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
from components.families.draws import Draws
from components.families.optimisers import adam
from components.families.port import Graph, Inputs, Method, Request, Shape, Trouble
from components.families.sampling import SAMPLING_BATCH, slerp, square
from components.families.sketch_diffusion.config import (
    INTENSITIES,
    Options,
    SamplerName,
    Schedule,
    SketchDiffusionConfig,
)
from components.families.sketch_diffusion.critic import (
    MIN_SIDE,
    Critic,
    critic_loss,
    enlarged,
    fooling_loss,
    mean_squares,
)
from components.families.sketch_diffusion.network import (
    Denoiser,
    initialise,
    residual_branches,
)
from components.families.sketch_diffusion.transport import Transport, transport_loss
from components.families.sketch_diffusion.windows import over_windows
from components.families.sketch_diffusion.works import MEMORISED, Works
from components.families.trainer import (
    FamilyTrainer,
    Machine,
    Scalars,
    frozen,
    in_memory_format,
    parts_of,
)

MIN_NOISE = 1e-3
ERROR_BESIDE_CRITIC = 0.2
"""Weight of the squared error where a critic is listened to: it would smooth what that sharpens."""
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
SAMPLING_STEPS: dict[Schedule, int] = {"sixteen": INTENSITIES, "continuous": 8}
"""Steps of a sampler; measured in docs/studies/diffusion.md."""
SAMPLING_SHIFT = 2.5
"""Shift of a sampler's noise levels; measured there too."""
DETAIL_SHIFT = 2 * SAMPLING_SHIFT
"""The same with a level of detail, so that averages of 2×2 pixels go the usual way."""
MAX_PAINTED_SIDE = 256
"""Shorter side at which a picture is painted anew where no size was asked for, pixels."""
REPRESENTATION_NOISE = 0.6
"""Largest deviation of the noise over a representation in training, in units of its own."""
UNTOLD = 0.15
"""Share of images learnt without their representation; of those shown strokes, `UNTOLD_DRAWN`."""
UNTOLD_DRAWN = 0.5
WORKS_STREAM = 0x5EED << 40
"""Sets the random numbers that choose works apart from those of the noise."""
DETAIL_STREAM = 0xDE7A << 40
"""The same for the noise over detail."""
_NO_WORKS = "representation_guidance: no picture begins between works"
WARP_CELLS = 4
"""Cells along a side between which lines are displaced independently."""

Levels = TypeVar("Levels", float, Tensor, NDArray[np.float64])

# ---------------------------------------------------------------- noise


def noise_of(intensity: float) -> float:
    """The paper's intensity, 0 (wholly replaced) to 15 (weakest) => t, 1 to 1/16."""
    return 1 - intensity / INTENSITIES


def add_noise(images: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """(1-t) x0 + t ε: images and noise (N, 3, S, S), t (N,)."""
    return torch.lerp(images, noise, t[:, None, None, None])


def with_detail(averages: Tensor, fine: Tensor) -> Tensor:
    """White noise (N, 3, S, S) whose means over 2×2 are `averages` (N, 3, S/2, S/2), halved.

    Both are white noise themselves. So a seed is one composition at both sizes: what a level of
    detail adds begins apart from it.
    """
    means = F.interpolate(averages / 2 - F.avg_pool2d(fine, 2), scale_factor=2)
    return fine + means


def shifted(t: Levels, shift: float) -> Levels:
    """Noise t whose ratio t/(1-t) of noise to picture is `shift` times as large; 1 leaves t.

    Esser et al. 2024, arXiv 2403.03206, eq. 23.
    """
    return shift * t / (1 + (shift - 1) * t)


def draw_noise_levels(count: int, schedule: Schedule, rng: torch.Generator) -> Tensor:
    """t (count,) on the CPU, of the sixteen or of all in (0, 1], each equally likely.

    «With a random level of intensity»; evenly spread over the batch behind one random start, which
    makes the loss less noisy and leaves each image's own chance as it was.
    """
    spread = (torch.arange(count) + torch.rand((), generator=rng)) / count
    spread = (spread + torch.rand((), generator=rng)) % 1.0
    if schedule == "sixteen":
        return 1 - (spread * INTENSITIES).floor().clamp_max(INTENSITIES - 1) / INTENSITIES
    return (1 - spread).clamp_min(MIN_NOISE)


def noise_levels(
    start: float, steps: int | None, schedule: Schedule, shift: float | None = None
) -> list[float]:
    """Noise levels that a sampler goes through, from `start` down to 0.

    `steps` is for the whole way from 1 (`SAMPLING_STEPS` where it is None); a part of it takes its
    share, rounded up. Evenly, then shifted (`SAMPLING_SHIFT` where it is None), so that there are
    more steps at strong noise, where the composition is decided. Of the sixteen intensities every
    step is a whole one: `ValueError` where others would be needed, and for any shift.
    """
    steps = steps or SAMPLING_STEPS[schedule]
    if schedule == "continuous":
        shift = SAMPLING_SHIFT if shift is None else shift
        first = shifted(start, 1 / shift)
        count = max(1, math.ceil(steps * first - 1e-9))  # less what rounding may have added
        even = np.linspace(first, 0, count + 1)
        return [start, *shifted(even[1:], shift).tolist()]
    if shift not in (None, 1):
        raise ValueError(f"shift: this model learnt {INTENSITIES} intensities; leave it out")
    count = max(1, math.ceil(steps * start))
    first = start * INTENSITIES
    if first != round(first):
        raise ValueError("intensity: this model learnt the whole ones from 0 to 15 alone")
    if steps > INTENSITIES:
        raise ValueError(f"steps: this model learnt {INTENSITIES} intensities, so no more steps")
    return (np.linspace(first, 0, count + 1).round() / INTENSITIES).tolist()


def sampler_levels(
    config: SketchDiffusionConfig,
    start: float = 1.0,
    steps: int | None = None,
    shift: float | None = None,
) -> list[float]:
    """`noise_levels` for a model of this config, with its own shift."""
    if config.detail_channels and shift is None:
        shift = DETAIL_SHIFT
    return noise_levels(start, steps, config.schedule, shift)


# ---------------------------------------------------------------- drawings


def masked(noisy: Tensor, mask: Tensor, constant: Tensor) -> Tensor:
    """«First a background of … constant noise, on it a mask of random noise».

    `noisy` (N, 3, S, S) where `mask` (N, 1, S, S) is 1, the constant noise (3, S, S) elsewhere. The
    paper is silent on what lies under the random noise; we lay it over the picture, by the
    intensity, since otherwise its «varying intensity» would have no meaning. Outside, nothing of
    the picture can be known, and the network gives its mean: «if the radius is small, the result
    is less detailed».
    """
    return torch.where(mask > 0, noisy, constant)


def mask_within(distances: Tensor, radius: Tensor) -> Tensor:
    """«Around every pixel of the input picture within the radius»: 1 there, (N, 1, S, S)."""
    return (distances <= radius[:, None, None, None]).float()


def hints_of(distances: Tensor, radius: Tensor) -> Tensor:
    """Distances (N, 1, S, S) from drawn pixels and radii (N,) => what the network is shown.

    (N, 2, S, S) in [0, 1]: the lines themselves, with soft edges, and how near they are, which
    falls to 0 just beyond the radius: the paper's mask with a soft edge, and by its slope the
    radius.
    """
    lines = (1.5 - distances).clamp(0, 1)
    near = (1 - distances / (radius[:, None, None, None] + 1)).clamp(0, 1)
    return torch.cat([lines, near], dim=1)


def displaced(distances: Tensor, radius: Tensor, draws: Draws) -> Tensor:
    """Lines moved smoothly, at no place farther than the radius, by `draws`.

    A person's line is not where the picture's is. So the network learns that pictures' lines lie
    within the radius of those shown: a small one keeps them, a large one takes them as a wish.
    """
    count, _, side, _ = distances.shape
    drawn = draws.normal(count, 2, WARP_CELLS + 1, WARP_CELLS + 1) * 0.6
    moves = F.interpolate(drawn, (side, side), mode="bicubic", align_corners=True)
    moves = moves / moves.norm(dim=1, keepdim=True).clamp_min(1)
    moves = moves.permute(0, 2, 3, 1) * radius[:, None, None, None] * (2 / side)
    grid = F.affine_grid(torch.eye(2, 3).expand(count, -1, -1), [count, 1, side, side], False)
    return F.grid_sample(distances, grid + moves, padding_mode="border", align_corners=False)


# ---------------------------------------------------------------- trainer


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


Estimate = tuple[Tensor, float]
"""An estimate of x0, and the noise level at which it was made."""


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
        if config.frechet:
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


# ---------------------------------------------------------------- samplers


def ddim_step(x: Tensor, x0: Tensor, t: float, s: float, noise: Tensor | None = None) -> Tensor:
    """Step from noise t to noise s < t, given an estimate of x0.

    Song, Meng, Ermon 2020, arXiv 2010.02502, eq. 12, for α = 1-t and σ = t: without `noise` its
    η = 0 (DDIM), with it η = 1, which is ancestral sampling (DDPM).
    """
    predicted = (x - (1 - t) * x0) / t
    if noise is None or s == 0:
        return (1 - s) * x0 + s * predicted
    kept = s**2 * (1 - t) / (t * (1 - s))  # of the old noise; the new one fills its variance up
    return (1 - s) * x0 + kept * predicted + math.sqrt(s**2 - kept**2) * noise


def dpmpp_2m_step(x: Tensor, x0: Tensor, t: float, s: float, before: Estimate | None) -> Tensor:
    """DPM-Solver++(2M): Lu et al. 2022, arXiv 2211.01095, algorithm 2.

    `before` is the last step's estimate of x0 and its t. First order without it, and where the half
    log-SNR λ = log((1-t)/t) is infinite: after t = 1, and into s = 0.
    """
    if before is None or s == 0 or before[1] == 1:
        return ddim_step(x, x0, t, s)
    earlier, first = before
    half_log_snr = [math.log((1 - level) / level) for level in (first, t, s)]
    ratio = (half_log_snr[2] - half_log_snr[1]) / (half_log_snr[1] - half_log_snr[0]) / 2
    return s / t * x + ((1 - s) - (1 - t) * s / t) * (x0 + ratio * (x0 - earlier))


def run_sampler(
    name: SamplerName,
    denoise: Callable[[Tensor, float], Tensor],
    x: Tensor,
    levels: Sequence[float],
    draw: Callable[[], Tensor],
    tell: Callable[[int], None],
) -> Tensor:
    """Go from x at the first level to the last one, 0.

    `denoise(x, t)` estimates x0; `draw()` gives fresh noise of x's shape, for ddpm alone; `tell`
    is called with the steps done.
    """
    before: Estimate | None = None
    for step, (t, s) in enumerate(pairwise(levels), start=1):
        x0 = denoise(x, t)
        if name == "ddpm":
            x = ddim_step(x, x0, t, s, draw() if s > 0 else None)
        elif name == "dpmpp_2m":
            x = dpmpp_2m_step(x, x0, t, s, before)
        else:
            x = ddim_step(x, x0, t, s)
        before = x0, t
        tell(step)
    return x


@dataclass(frozen=True)
class Start:
    """Start of all pictures of a call; all rows share one drawing."""

    t: float
    """Noise over the drawing; 1 where there is none."""
    picture: Tensor
    """(1, 3, S, S) in [-1, 1]: what lies under the noise."""
    mask: Tensor
    """(1, 1, S, S): 1 where noise is random."""
    hints: Tensor
    """(1, 0 or 2, S, S)."""
    sketch_guidance: float = 1.0


@dataclass(frozen=True)
class Wanted:
    """Wishes for each picture of a batch, and how strongly they are followed."""

    styles: Tensor
    """(N, K)."""
    codes: Tensor
    """(N, 64): what it is to be like; rows of 0 for no such wish."""
    guidance: float = 1.0
    representation_guidance: float = 1.0


class Noise:
    """Normal noise, each row by its seed alone, or on the way from its seed's to another's."""

    def __init__(self, seeds: Sequence[int], options: Options, stream: int = 0) -> None:
        self._rows = [torch.Generator().manual_seed(seed ^ stream) for seed in seeds]
        self._end: torch.Generator | None = None
        if options.towards_seed is not None:
            self._end = torch.Generator().manual_seed(options.towards_seed ^ stream)
        self._blend = options.blend

    def draw(self, *shape: int) -> Tensor:
        """The next noise, (n, *shape) on the CPU."""
        noise = torch.stack([torch.randn(shape, generator=rng) for rng in self._rows])
        if self._end is None:
            return noise
        end = torch.randn(shape, generator=self._end)
        return slerp(noise.flatten(1), end.flatten(), self._blend).view_as(noise)


class Sampler:
    """Seeds, and perhaps a drawing => pictures."""

    def __init__(self, network: Denoiser, config: SketchDiffusionConfig) -> None:
        # In this format a row's rounding does not depend on its place in the batch.
        self.network = in_memory_format(network.eval(), torch.channels_last)
        self.config = config
        self.device = next(network.parameters()).device
        self.side = self.network.noise.shape[-1]

    @torch.no_grad()
    def sample(self, request: Request[Options]) -> Tensor:
        """Make one picture for each seed, (n, 3, S, S) in [-1, 1], from noise or from a drawing.

        A drawing is `inputs.sketch`, taken as black on white, or `inputs.source` (3, H, W), a
        picture that is cut to a square and whose lines are found as in training. With
        `source_strength` the source itself is painted anew, whole: (n, 3, H, W) at its own shape.
        Raises `ValueError` for both at once, a sketch of another size, one without lines, and
        options that the model's conditioning gives no meaning.
        """
        options = request.options
        if options.source_strength is not None:
            return self._painted_anew(request, options.source_strength)
        if options.source_size is not None:
            raise ValueError("source_size: only with source_strength")
        start = self._start(request)
        levels = sampler_levels(self.config, start.t, options.steps, options.shift)
        parts = [
            self._batch(request, slice(first, first + SAMPLING_BATCH), start, levels)
            for first in range(0, len(request.seeds), SAMPLING_BATCH)
        ]
        return torch.cat(parts).clamp(-1.0, 1.0).contiguous()

    def _start(self, request: Request[Options]) -> Start:
        inputs, options = request.inputs, request.options
        if inputs.sketch is None and inputs.source is None:
            return self._from_noise(options)
        return self._from_drawing(*self._drawing(inputs), options)

    def _from_noise(self, options: Options) -> Start:
        if {options.radius, options.intensity, options.sketch_guidance} != {None}:
            raise ValueError("radius, intensity and sketch_guidance: only with a sketch")
        side = self.side
        nothing = torch.zeros(1, self.network.num_hints, side, side)
        return Start(1.0, torch.zeros(1, 3, side, side), torch.ones(1, 1, side, side), nothing)

    def _drawing(self, inputs: Inputs) -> tuple[Tensor, np.ndarray]:
        """The drawing as a picture (1, 3, S, S) and its strokes (1, 1, S, S)."""
        if inputs.sketch is not None and inputs.source is not None:
            raise ValueError("sketch, source: two drawings; give one of them")
        if inputs.source is not None:
            picture = square(inputs.source, self.side)
            strokes = drawing.strokes_of_pictures(picture.numpy())
        else:
            assert inputs.sketch is not None
            ink = self._fitting(inputs.sketch).float().cpu()[None]
            strokes = (ink >= 0.5).float().numpy()
            picture = (1 - 2 * ink).expand(1, 3, -1, -1)
        if not strokes.any():
            raise ValueError("no lines were found in it; draw dark lines on light paper")
        return picture, strokes

    def _fitting(self, sketch: Tensor) -> Tensor:
        if sketch.shape[1:] != (self.side, self.side):
            raise ValueError(
                f"the drawing has {sketch.shape[2]}×{sketch.shape[1]} pixels; "
                f"this model works at {self.side}×{self.side}"
            )
        return sketch

    def _from_drawing(self, picture: Tensor, strokes: np.ndarray, options: Options) -> Start:
        conditioning = self.config.conditioning
        if conditioning == "none":
            raise ValueError(
                "this model was trained without drawings (conditioning none); leave the sketch out"
            )
        guides = options.for_drawing(conditioning)
        radius = torch.tensor([guides.radius])
        distances = tensor_of(drawing.distances(strokes))
        mask = torch.ones_like(distances)
        hints = picture.new_zeros(1, self.network.num_hints, self.side, self.side)
        if conditioning == "radius_mask":
            mask = mask_within(distances, radius)
        elif conditioning == "guided":
            if options.representation_guidance is not None:
                raise ValueError(f"{_NO_WORKS} where strokes are followed; leave it out")
            hints = hints_of(distances, radius)
        return Start(noise_of(guides.intensity), picture, mask, hints, guides.sketch_guidance)

    def _painted_anew(self, request: Request[Options], strength: float) -> Tensor:
        """The source under noise, cleaned: SDEdit (Meng et al. 2021, arXiv 2108.01073).

        A picture over the model's resolution is cleaned in windows, see `over_windows`: what they
        show is small beside the whole, so that the composition stays.
        """
        options = request.options
        start = self._from_picture(request, strength)
        levels = sampler_levels(self.config, strength, options.steps, options.shift)
        num_steps = len(levels) - 1
        # No style for one that was not asked for: the source has its own.
        styles = request.styles * float(not request.inputs.has_own_style)
        made = []
        for done, (seed, style) in enumerate(zip(request.seeds, styles, strict=True)):
            draw = partial(self._drawn, Noise([seed], options), start.picture.shape[1:])
            rows = style.to(self.device).expand(SAMPLING_BATCH, -1)
            wanted = Wanted(rows, self._no_codes(), options.guidance)
            estimate = partial(self._denoise, wanted, start)
            denoise = partial(self._over_windows, estimate)
            tell = partial(_tell_after, request, done * num_steps, len(request.seeds) * num_steps)
            x = torch.lerp(start.picture.to(self.device), draw(), strength)
            made.append(run_sampler(options.sampler, denoise, x, levels, draw, tell).cpu())
        return torch.cat(made).clamp(-1.0, 1.0).contiguous()

    def _from_picture(self, request: Request[Options], strength: float) -> Start:
        inputs, options = request.inputs, request.options
        if inputs.source is None or inputs.sketch is not None:
            raise ValueError("source_strength: paints a source anew; give a source, and no sketch")
        if {options.radius, options.intensity, options.sketch_guidance} != {None}:
            raise ValueError("source_strength: leave radius, intensity and sketch_guidance out")
        if inputs.has_own_style and options.guidance != 1:
            raise ValueError("guidance: a source painted anew has its own style; name one, too")
        if options.representation_guidance is not None:
            raise ValueError(f"{_NO_WORKS} from a source painted anew; leave it out")
        if self.config.conditioning == "radius_mask":
            raise ValueError(
                "source_strength: a model of conditioning 'radius_mask' cannot; leave it out"
            )
        picture = _at_size(inputs.source, options.source_size or MAX_PAINTED_SIDE, self.side)
        start = self._from_noise(options)
        return Start(strength, picture, start.mask, start.hints)

    def _drawn(self, noise: Noise, shape: Sequence[int]) -> Tensor:
        return noise.draw(*shape).to(self.device)

    def _over_windows(
        self, estimate: Callable[[Tensor, float], Tensor], x: Tensor, t: float
    ) -> Tensor:
        def clean(windows: Tensor) -> Tensor:
            return estimate(windows.contiguous(memory_format=torch.channels_last), t)

        return over_windows(clean, x, self.side, SAMPLING_BATCH)

    def _batch(
        self, request: Request[Options], rows: slice, start: Start, levels: Sequence[float]
    ) -> Tensor:
        """Always as many at a time, the rest padded: see `SAMPLING_BATCH`."""
        seeds, styles = request.seeds[rows], request.styles[rows]
        noise = self._square_noise(seeds, request.options)
        missing = SAMPLING_BATCH - len(seeds)
        num_steps, num_batches = len(levels) - 1, -(-len(request.seeds) // SAMPLING_BATCH)
        steps_before = rows.start // SAMPLING_BATCH * num_steps

        def draw() -> Tensor:
            made = F.pad(noise(), (0, 0, 0, 0, 0, 0, 0, missing))
            return made.to(self.device, memory_format=torch.channels_last)

        def tell(step: int) -> None:
            request.tell(steps_before + step, num_batches * num_steps)

        style = torch.cat([styles, styles.new_zeros(missing, styles.shape[1])]).to(self.device)
        codes = self._codes(request, rows) if not start.hints.any() else self._no_codes()
        denoise = partial(self._denoise, self._wanted(request.options, style, codes), start)
        x = torch.lerp(self._rows(start.picture), draw(), start.t)
        made = run_sampler(request.options.sampler, denoise, x, levels, draw, tell)
        return made.cpu()[: len(seeds)]

    def _square_noise(self, seeds: Sequence[int], options: Options) -> Callable[[], Tensor]:
        """Draws of noise for square pictures, (n, 3, S, S) on the CPU, each row by its seed."""
        side, noise = self.side, Noise(seeds, options)
        if self.network.detail is None:
            return lambda: noise.draw(3, side, side)
        fine = Noise(seeds, options, DETAIL_STREAM)
        return lambda: with_detail(noise.draw(3, side // 2, side // 2), fine.draw(3, side, side))

    def _rows(self, shared: Tensor) -> Tensor:
        return shared.to(self.device).expand(SAMPLING_BATCH, -1, -1, -1)

    def _no_codes(self) -> Tensor:
        return torch.zeros(SAMPLING_BATCH, Representation.SIZE, device=self.device)

    def _codes(self, request: Request[Options], rows: slice) -> Tensor:
        """Representations to aim at, (N, 64), each by its seed alone; 0 where no work is known."""
        codes = self._no_codes()
        options, works = request.options, self.network.works
        if works is None:
            return codes
        pairs = zip(request.seeds[rows], request.styles[rows], strict=True)
        for row, (seed, style) in enumerate(pairs):
            code = _code(works, seed, style)
            if options.towards_seed is not None:
                code = torch.lerp(code, _code(works, options.towards_seed, style), options.blend)
            codes[row] = code
        return codes

    def _wanted(self, options: Options, styles: Tensor, codes: Tensor) -> Wanted:
        strength = options.representation_guidance
        if self.network.works is None and strength is not None:
            raise ValueError(
                "representation_guidance: this model was not told what pictures are like; leave "
                "it out"
            )
        if strength is None or not codes.any():
            strength = 1.0
        return Wanted(styles, codes, options.guidance, strength)

    def _denoise(self, wanted: Wanted, start: Start, x: Tensor, t: float) -> Tensor:
        """The estimate of x0, guided.

        Classifier-free guidance: Ho, Salimans 2022, arXiv 2207.12598, eq. 6, for style, works and
        strokes apart: away from what each alone would lack.
        """
        style, codes, guidance = wanted.styles, wanted.codes, wanted.guidance
        mask, hints = self._rows(start.mask), self._rows(start.hints)
        if self.config.conditioning == "radius_mask":
            x = masked(x, mask, self.network.noise)
        level = torch.full((SAMPLING_BATCH,), t, device=self.device)
        x0 = found = self.network(x, level, style, mask, hints, codes)
        if guidance != 1:
            without = self.network(x, level, torch.zeros_like(style), mask, hints, codes)
            x0 = x0 + (guidance - 1) * (found - without)
        if wanted.representation_guidance != 1:
            without = self.network(x, level, style, mask, hints)
            x0 = x0 + (wanted.representation_guidance - 1) * (found - without)
        if start.sketch_guidance != 1:
            without = self.network(x, level, style, mask, torch.zeros_like(hints), codes)
            x0 = x0 + (start.sketch_guidance - 1) * (found - without)
        return x0.clamp(-1, 1)


def _code(works: Works, seed: int, style: Tensor) -> Tensor:
    """The representation (64,) that a seed aims at in a style (K,).

    Where styles are mixed each has a work of its own, and what these are like is mixed as the
    styles are: so the picture changes by degrees as they do.
    """
    code = torch.zeros(Representation.SIZE)
    for place in style.nonzero().flatten().tolist():
        # Another stream than the noise's, which stays what it is without works.
        rng = torch.Generator().manual_seed(seed ^ WORKS_STREAM)
        alone = torch.zeros_like(style).index_fill(0, torch.tensor(place), 1.0)
        code += style[place].item() * works.draw(alone, rng)
    return code


def _at_size(source: Tensor, size: int, side: int) -> Tensor:
    """A picture (3, H, W) whose shorter side is at most `size`, at least `side`: (1, 3, H', W')."""
    height, width = source.shape[1:]
    shorter = max(min(height, width, size), side)
    if shorter == min(height, width):
        return source[None].cpu().float()
    new = [max(side, round(length * shorter / min(height, width))) for length in (height, width)]
    resized = F.interpolate(source[None].cpu().float(), new, mode="bicubic", antialias=True)
    return resized.clamp(-1.0, 1.0)


def _tell_after(request: Request[Options], before: int, total: int, step: int) -> None:
    request.tell(before + step, total)


# ---------------------------------------------------------------- export


class _Unguided(nn.Module):
    """A denoiser that is shown no strokes, without the empty input for them."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, noisy: Tensor, t: Tensor, styles: Tensor, mask: Tensor) -> Tensor:
        return self.denoiser(noisy, t, styles, mask, noisy[:, :0])


def build_graphs(
    network: Denoiser, config: SketchDiffusionConfig, shape: Shape
) -> dict[str, Graph]:
    """One step: pictures under noise => what they may be; whoever samples takes many."""
    side = shape.resolution
    inputs: dict[str, Sequence[int | str]] = {
        "noisy": ("N", 3, side, side),
        "t": ("N",),
        "styles": ("N", shape.num_styles),
        "mask": ("N", 1, side, side),
    }
    if not network.num_hints:
        return {"model": Graph(_Unguided(network), inputs)}
    inputs["hints"] = ("N", network.num_hints, side, side)
    if network.works is not None:
        inputs["codes"] = ("N", Representation.SIZE)
    return {"model": Graph(network, inputs)}


METHOD = Method(Trainer, Denoiser, Sampler, build_graphs)
