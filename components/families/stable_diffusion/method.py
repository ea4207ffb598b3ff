# pyright: standard
"""Stable Diffusion and its kin, as diffusers publishes them: an adapter, nothing is trained here.

References: Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models",
arXiv 2112.10752 (Stable Diffusion); Ho, Salimans 2022, arXiv 2207.12598 (guidance); Meng et al.
2022, arXiv 2108.01073 (image to image); Ramesh et al. 2022, arXiv 2204.06125 (unCLIP, DALL-E 2:
variations); Hu et al. 2021, arXiv 2106.09685 (LoRA). Pipelines, schedulers and loading are those of
`diffusers` (Apache-2.0), an optional extra.

What is ours: one task for what is given (words, a picture, a picture and its mask), one generator a
picture, and the masked picture laid back over what was to be kept.
"""

import inspect
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from components.common.shortage import is_out_of_memory
from components.common.tensors import tensor_of
from components.common.vision import import_torchvision
from components.families.port import Inputs, Method, Request, Shape
from components.families.stable_diffusion.config import Options, StableDiffusionConfig
from components.families.stable_diffusion.files import (
    PipelineError,
    PipelineFiles,
    find_pipeline,
    first_line,
    needs_extra,
    place_of,
)
from components.families.trainer import Machine

_log = logging.getLogger("atelier")

Task = Literal["text", "image", "mask"]

# ---------------------------------------------------------------- which pipeline for which task


def _mappings() -> dict[Task, dict[str, type]]:
    """Tables of diffusers' classes by the pipeline's kind, one for each task."""
    _import_diffusers()
    auto: Any = import_module("diffusers.pipelines.auto_pipeline")
    return {
        "text": auto.AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
        "image": auto.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
        "mask": auto.AUTO_INPAINT_PIPELINES_MAPPING,
    }


def classes_of(class_name: str, pipeline: str) -> dict[Task, type]:
    """The class of diffusers for each task that a published pipeline can do.

    A class outside diffusers' tables (variations, unCLIP) does what its call asks for.
    """
    diffusers = _import_diffusers()
    tables = _mappings()
    for table in tables.values():
        for kind, known in table.items():
            if known.__name__ == class_name:
                return {task: rows[kind] for task, rows in tables.items() if kind in rows}
    own = getattr(diffusers, class_name, None)
    if isinstance(own, type) and issubclass(own, diffusers.DiffusionPipeline):
        arguments = _arguments(own)
        makes_pictures = "num_images_per_prompt" in arguments  # and no videos, no sounds
        if makes_pictures and "image" not in arguments and "prompt" in arguments:
            return {"text": own}
        if makes_pictures and "image" in arguments and "mask_image" not in arguments:
            return {"image": own}
    raise PipelineError(f"{pipeline}: a {class_name} makes no pictures that can be asked for here")


def _arguments(pipeline_class: type) -> frozenset[str]:
    """Names of the arguments that a pipeline's call takes."""
    return frozenset(inspect.signature(pipeline_class.__call__).parameters)


def _import_diffusers() -> Any:
    """The package. Raises `PipelineError` where the extra is not installed."""
    with needs_extra():
        import_torchvision()  # transformers imports it, and may stumble over its extension
        import diffusers

    pipelines: Any = import_module("diffusers.pipelines")
    if not hasattr(pipelines, "unclip"):
        # Where Karlo's published index looks for a part of it; diffusers has moved that place.
        with suppress(ImportError):
            pipelines.unclip = import_module("diffusers.pipelines.deprecated.unclip")
    return diffusers


# ---------------------------------------------------------------- the network


class PipelineNetwork(nn.Module):
    """Takes the place of a network: a pipeline, loaded when it is first used.

    It has no weights of its own, so a model's weights file is empty; the pipeline's are vouched for
    by `files_sha256` of the config.
    """

    def __init__(self, config: StableDiffusionConfig, shape: Shape) -> None:
        super().__init__()
        self.config = config
        self.shape = shape
        # Goes where the module is moved to, so that the pipeline can follow.
        self.register_buffer("place", torch.empty(0), persistent=False)
        self._files: PipelineFiles | None = None
        self._arranged: tuple[tuple[str | None, ...], Any] | None = None

    @property
    def device(self) -> torch.device:
        """Device that pictures are made on."""
        place = self.get_buffer("place")
        return place.device

    def files(self) -> PipelineFiles:
        """The pipeline's files, found and compared with their digest once."""
        if self._files is None:
            config = self.config
            files = find_pipeline(
                place_of(config), config.revision, config.variant, config.allow_pickles
            )
            if files.digest() != config.files_sha256:
                raise PipelineError(
                    f"{config.pipeline}: its files are not those that were adopted; adopt it again"
                )
            self._files = files
        return self._files

    def classes(self) -> dict[Task, type]:
        """The pipeline's class for each task that it can do."""
        return classes_of(self.files().index["_class_name"], self.config.pipeline)

    def arranged(self, task: Task, options: Options) -> Any:
        """The pipeline for a task, with the LoRA and the thrift that the options ask for.

        Loaded anew where those are others than the last time: taking hooks and adapters off again
        would leave a picture depending on what was made before.
        """
        key = (task, str(self.device), options.low_memory, options.lora_sha256)
        if self._arranged is None or self._arranged[0] != key:
            self._arranged = None  # before loading, so that two never lie in memory
            self._arranged = key, self._load(task, options)
        pipeline = self._arranged[1]
        if options.lora is not None:
            with _one_line(f"lora {options.lora}: does not fit this pipeline"):
                pipeline.set_adapters(["lora"], adapter_weights=[options.lora_scale])
        return pipeline

    def _load(self, task: Task, options: Options) -> Any:
        with _one_line(f"{self.config.pipeline}: cannot be loaded"), _without_bars():
            pipeline = self.classes()[task].from_pretrained(  # type: ignore[attr-defined]
                str(self.files().folder),
                dtype=self._dtype(),
                variant=self.config.variant,
                # None: safetensors where there are any, else pickles.
                use_safetensors=None if self.config.allow_pickles else True,
                local_files_only=True,
            )
        pipeline.set_progress_bar_config(disable=True)
        if getattr(pipeline, "watermark", None) is not None:
            # Else pictures would depend on whether the package for it is there; that a picture is
            # generated, its metadata says.
            pipeline.watermark = None
        _check_channels(pipeline, task, self.config.pipeline)
        if options.lora is not None:
            self._lay_over(pipeline, options.lora)
        with _one_line(f"{self.config.pipeline}: cannot be moved to {self.device}"):
            self._place(pipeline, options)
        return pipeline

    def _dtype(self) -> torch.dtype:
        if self.config.dtype != "auto":
            return getattr(torch, self.config.dtype)
        return torch.float32 if self.device.type == "cpu" else torch.float16

    def _lay_over(self, pipeline: Any, lora: Path) -> None:
        if not hasattr(pipeline, "load_lora_weights"):
            raise PipelineError(f"lora: a {type(pipeline).__name__} takes none; leave it out")
        if lora.suffix != ".safetensors" and not self.config.allow_pickles:
            raise PipelineError(
                f"lora {lora}: not safetensors; anything else may hide code, so look for the same "
                "file as safetensors"
            )
        with needs_extra():
            import peft  # noqa: F401 (diffusers asks for it with a long message)
        with _one_line(f"lora {lora}: does not fit this pipeline"):
            pipeline.load_lora_weights(
                str(lora.parent),
                weight_name=lora.name,
                adapter_name="lora",
                use_safetensors=None if self.config.allow_pickles else True,
                local_files_only=True,
            )

    def _place(self, pipeline: Any, options: Options) -> None:
        mode = options.low_memory
        if mode in ("offload", "sequential") and self.device.type == "cpu":
            raise PipelineError(
                f"low_memory: {mode!r} takes turns on a GPU, and this is the CPU; choose 'slices'"
            )
        if mode != "off":
            if hasattr(pipeline, "enable_attention_slicing"):
                pipeline.enable_attention_slicing()
            if isinstance(getattr(pipeline, "vae", None), _import_diffusers().AutoencoderKL):
                pipeline.vae.enable_slicing()
                pipeline.vae.enable_tiling()
        if mode == "offload":
            pipeline.enable_model_cpu_offload(device=self.device)
        elif mode == "sequential":
            pipeline.enable_sequential_cpu_offload(device=self.device)
        else:
            pipeline.to(self.device)


def _check_channels(pipeline: Any, task: Task, name: str) -> None:
    """A network made for masks reads more channels than noise has, and can do nothing else."""
    unet, vae = getattr(pipeline, "unet", None), getattr(pipeline, "vae", None)
    if task == "mask" or unet is None or vae is None:
        return
    if unet.config.in_channels == 2 * vae.config.latent_channels + 1:
        raise PipelineError(f"{name}: only paints into masks; give it a source and a mask")


# ---------------------------------------------------------------- what a picture is made from


@dataclass(frozen=True)
class Canvas:
    """A source as the pipeline is given it: at the wanted size, extended, with its mask."""

    image: Tensor
    """Float32 (3, H, W) in [-1, 1]."""
    mask: Tensor | None
    """Float32 (1, H, W) in [0, 1]: 1 where it is made anew; None: everywhere."""


def make_canvas(source: Tensor, mask: Tensor | None, options: Options) -> Canvas:
    """Resize a source (3, H, W) and its mask (1, H, W) as asked, and extend them at the sides.

    What is added repeats the border until it is painted; the mask is 1 there.
    """
    height, width = _sides(source.shape[1], source.shape[2], options)
    image = _resized(source, height, width).clamp(-1, 1)
    mask = None if mask is None else _resized(mask, height, width).clamp(0, 1)
    if any(options.extension):
        image = F.pad(image[None], options.extension, mode="replicate")[0]
        kept = source.new_zeros(1, height, width) if mask is None else mask
        mask = F.pad(kept, options.extension, value=1.0)
    return Canvas(image, mask)


def _sides(height: int, width: int, options: Options) -> tuple[int, int]:
    """The sides asked for; one alone keeps the shape."""
    if options.height and not options.width:
        return options.height, max(1, round(width * options.height / height))
    if options.width and not options.height:
        return max(1, round(height * options.width / width)), options.width
    return options.height or height, options.width or width


def _resized(planes: Tensor, height: int, width: int) -> Tensor:
    if planes.shape[1:] == (height, width):
        return planes
    mode = "bicubic" if planes.shape[0] == 3 else "bilinear"
    return F.interpolate(planes[None], (height, width), mode=mode, antialias=True)[0]


def _padded(canvas: Canvas, multiple: int) -> Canvas:
    """Pad to sides that the autoencoder can halve, at the right and below; cut off again later."""
    height, width = canvas.image.shape[1:]
    missing = (0, -width % multiple, 0, -height % multiple)
    image = F.pad(canvas.image[None], missing, mode="replicate")[0]
    mask = None if canvas.mask is None else F.pad(canvas.mask, missing)
    return Canvas(image, mask)


def _to_pillow(image: Tensor) -> Image.Image:
    """(3, H, W) in [-1, 1] => RGB, as every pipeline takes it."""
    levels = ((image + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0)
    return Image.fromarray(levels.contiguous().numpy())


# ---------------------------------------------------------------- sampler

# Our options by the names that calls of diffusers have for them, the first that a call knows.
_CALL_NAMES = {
    "prompt": ("prompt",),
    "negative_prompt": ("negative_prompt",),
    "guidance": ("guidance_scale", "decoder_guidance_scale"),
    "steps": ("num_inference_steps", "decoder_num_inference_steps"),
    "source_strength": ("strength",),
    "width": ("width",),
    "height": ("height",),
}


class Sampler:
    """Pictures one at a time, each with its own generator on the CPU.

    So seed 7 is the same picture alone and in company, bit for bit: a convolution's last bits
    depend on the batch's size. Filling fixed batches up would do the same, but it computes pictures
    that nobody asked for and needs their memory too.
    """

    def __init__(self, network: PipelineNetwork, config: StableDiffusionConfig) -> None:
        self.network = network
        network.files()  # what is missing or exchanged is reported before the first picture

    @torch.no_grad()
    def sample(self, request: Request[Options]) -> Tensor:
        """Make pictures (n, 3, H, W) in [-1, 1] from words, a source, or a source and its mask.

        From words, H and W are the options' or the pipeline's own; from a source, the source's (or
        the options'), extended as asked. Where the mask is 0 the source is kept exactly. Styles
        are not looked at. Raises `PipelineError`, a `ValueError` of one line.
        """
        options, inputs = request.options, request.inputs
        task = _task(inputs, options)
        classes = self.network.classes()
        if task not in classes:
            raise PipelineError(_cannot(self.network, task, classes))
        call = _call(classes[task], task, options, inputs)
        pipeline = self.network.arranged(task, options)
        canvas = None
        if inputs.source is not None and _keeps_shape(classes[task]):
            canvas = make_canvas(inputs.source, inputs.mask, options)
            call |= _given(pipeline, task, canvas)
        elif inputs.source is not None:
            call["image"] = _to_pillow(inputs.source)
        if "callback_on_step_end" in _arguments(type(pipeline)):
            call["callback_on_step_end"] = _teller(request.tell)
        with _one_line(f"{self.network.config.pipeline}: cannot do this"):
            made = list(self._pictures(pipeline, call, request.seeds, options))
        return torch.stack([_finished(image, canvas) for image in made])

    def _pictures(
        self, pipeline: Any, call: dict[str, Any], seeds: Sequence[int], options: Options
    ) -> Iterator[Tensor]:
        """One (3, H, W) a seed, in [-1, 1]."""
        published = getattr(pipeline, "scheduler", None)
        try:
            if options.scheduler is not None:
                pipeline.scheduler = _scheduler(pipeline, options.scheduler)
            for seed in seeds:
                yield _picture(pipeline, call, seed)
        finally:
            if options.scheduler is not None:
                pipeline.scheduler = published


def _task(inputs: Inputs, options: Options) -> Task:
    extends = any(options.extension)
    if inputs.source is None and (extends or inputs.mask is not None):
        what = "mask" if inputs.mask is not None else "extend"
        raise PipelineError(f"{what}: name the picture it belongs to as well (source)")
    if inputs.source is None:
        return "text"
    return "mask" if extends or inputs.mask is not None else "image"


def _cannot(network: PipelineNetwork, task: Task, classes: dict[Task, type]) -> str:
    verbs = {
        "text": "cannot paint from words alone; give a picture (source)",
        "image": "cannot rework a picture; leave source out",
        "mask": "cannot paint into a mask or extend a picture; adopt another for that",
    }
    name = next(iter(classes.values())).__name__
    return f"{network.config.pipeline}: a {name} {verbs[task]}"


def _keeps_shape(pipeline_class: type) -> bool:
    """Whether a source is what the picture begins as; a variation only looks at it."""
    return "strength" in _arguments(pipeline_class)


def _call(pipeline_class: type, task: Task, options: Options, inputs: Inputs) -> dict[str, Any]:
    """The arguments of a pipeline's call that have been chosen; one that it lacks is refused."""
    arguments = _arguments(pipeline_class)
    is_reworked = task != "text" and _keeps_shape(pipeline_class)
    if "prompt" in arguments and inputs.prompt is None and (task == "text" or is_reworked):
        raise PipelineError("prompt: this model needs one; say what the pictures should show")
    chosen = options.model_dump() | {"prompt": inputs.prompt}
    if is_reworked:  # the canvas has the sides that were asked for
        chosen |= {"width": None, "height": None}
        if (options.steps or math.inf) * (options.source_strength or 1) < 1:
            raise PipelineError("source_strength: times steps is below 1; choose more of either")
    call: dict[str, Any] = {}
    for ours, names in _CALL_NAMES.items():
        if chosen[ours] is None:
            continue
        known = next((name for name in names if name in arguments), None)
        if known is None:
            name = pipeline_class.__name__
            raise PipelineError(f"{ours}: a {name} has no use for it here; leave it out")
        call[known] = chosen[ours]
    return call


def _given(pipeline: Any, task: Task, canvas: Canvas) -> dict[str, Any]:
    """The arguments that hand a canvas over, padded to sides that the autoencoder can halve."""
    # Calls refuse sides that are no multiple of 8, whatever the autoencoder halves; a few kinds
    # have none, and take pixels as they are.
    processor = getattr(pipeline, "image_processor", None)
    padded = _padded(canvas, math.lcm(8, processor.config.vae_scale_factor if processor else 8))
    given: dict[str, Any] = {"image": _to_pillow(padded.image)}
    if task == "mask" and padded.mask is not None:
        given["mask_image"] = Image.fromarray((padded.mask[0] * 255).byte().numpy())
    if "height" in _arguments(type(pipeline)):
        given["height"], given["width"] = padded.image.shape[1:]
    return given


def _teller(tell: Callable[[int, int], None]) -> Callable[..., dict[str, Any]]:
    """Callback for diffusers after each step of denoising; it returns the next one's tensors."""

    def told(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        tell(step + 1, max(step + 1, pipeline.num_timesteps))
        return tensors

    return told


def _picture(pipeline: Any, call: dict[str, Any], seed: int) -> Tensor:
    """(3, H, W) in [-1, 1] on the CPU; all noise from the seed, drawn on the CPU on any device."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # a few schedulers do not ask our generator
        rng = torch.Generator().manual_seed(seed)
        made = pipeline(**call, generator=rng, output_type="np")
    if any(getattr(made, "nsfw_content_detected", None) or ()):
        _log.warning("seed %d: the pipeline's own safety checker blackened the picture", seed)
    image = tensor_of(np.ascontiguousarray(made.images[0].transpose(2, 0, 1)))
    if not bool(torch.isfinite(image).all()):
        raise PipelineError(
            f"seed {seed}: the arithmetic overflowed; adopt the pipeline with dtype 'bfloat16' or "
            "'float32'"
        )
    return image.float() * 2 - 1


def _finished(image: Tensor, canvas: Canvas | None) -> Tensor:
    """Cut the padding off, and lay the part to be kept over the picture."""
    if canvas is None:
        return image.clamp(-1, 1)
    height, width = canvas.image.shape[1:]
    image = image[:, :height, :width].clamp(-1, 1)
    if canvas.mask is None:
        return image
    return canvas.mask * image + (1 - canvas.mask) * canvas.image


def _scheduler(pipeline: Any, name: str) -> Any:
    if not hasattr(pipeline, "scheduler"):
        raise PipelineError(f"scheduler: a {type(pipeline).__name__} has its own; leave it out")
    current = pipeline.scheduler
    fitting = {known.__name__: known for known in current.compatibles}
    if name not in fitting:
        there = ", ".join(sorted(fitting))
        raise PipelineError(f"scheduler {name}: does not fit this pipeline; there are {there}")
    return fitting[name].from_config(current.config)


@contextmanager
def _without_bars() -> Iterator[None]:
    """Both libraries draw bars for every part that they load, also of a second's work."""
    switches = [import_module(f"{name}.utils.logging") for name in ("diffusers", "transformers")]
    shown = [switch for switch in switches if switch.is_progress_bar_enabled()]
    for switch in shown:
        switch.disable_progress_bar()
    try:
        yield
    finally:
        for switch in shown:
            switch.enable_progress_bar()


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Wrap foreign code: any exception becomes a `PipelineError` of one line."""
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:  # loaders and pipelines raise nearly anything
        reason = first_line(error)
        if is_out_of_memory(error):
            raise PipelineError(
                f"{what}: not enough memory; try low_memory 'slices' (on a GPU also 'offload' or "
                "'sequential'), or smaller pictures by width and height"
            ) from error
        raise PipelineError(f"{what} ({reason})") from error


def _no_trainer(config: StableDiffusionConfig, shape: Shape, machine: Machine) -> NoReturn:
    raise ValueError("comes trained and is adopted, not trained here; choose another family")


METHOD = Method(_no_trainer, PipelineNetwork, Sampler)
