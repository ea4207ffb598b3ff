# pyright: standard
"""Pictures from seeds: from noise alone, from a drawing, or from a picture painted anew."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from components.common.encoder import Representation
from components.common.tensors import tensor_of
from components.families import drawing
from components.families.port import Inputs, Request
from components.families.sampling import SAMPLING_BATCH, slerp, square
from components.families.sketch_diffusion.config import (
    INTENSITIES,
    Options,
    SketchDiffusionConfig,
)
from components.families.sketch_diffusion.network import Denoiser
from components.families.sketch_diffusion.noise import noise_of, sampler_levels, with_detail
from components.families.sketch_diffusion.solvers import run_sampler
from components.families.sketch_diffusion.strokes import hints_of, mask_within, masked
from components.families.sketch_diffusion.windows import over_windows
from components.families.sketch_diffusion.works import Works
from components.families.trainer import in_memory_format

MAX_PAINTED_SIDE = 256
"""Shorter side at which a picture is painted anew where no size was asked for, pixels."""
WORKS_STREAM = 0x5EED << 40
"""Sets the random numbers that choose works apart from those of the noise."""
DETAIL_STREAM = 0xDE7A << 40
"""The same for the noise over detail."""
_NO_WORKS = "representation_guidance: no picture begins near a work"


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
        if self.config.schedule == "sixteen" and strength * INTENSITIES % 1:
            raise ValueError("source_strength: this model learnt sixteenths; take one, as 0.3125")
        levels = sampler_levels(self.config, strength, options.steps, options.shift)
        num_steps = len(levels) - 1
        made = []
        pairs = zip(request.seeds, _styles(request), strict=True)
        for done, (seed, style) in enumerate(pairs):
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
        seeds, styles = request.seeds[rows], _styles(request)[rows]
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


def _styles(request: Request[Options]) -> Tensor:
    """Style of each picture, (n, K); of a source that comes without one none, since it has its own.

    The network learnt one style at a time and none, and no mixture of all.
    """
    if request.inputs.has_own_style and request.options.guidance != 1:
        raise ValueError("guidance: a source has its own style; name one, too")
    return request.styles * float(not request.inputs.has_own_style)


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
