"""Published pipelines: check one, in a folder or on the hub, and describe the model it makes."""

from dataclasses import dataclass
from typing import Any

from components.families.stable_diffusion.config import Precision, StableDiffusionConfig
from components.families.stable_diffusion.files import PipelineFiles, find_pipeline, keep_place
from components.families.stable_diffusion.method import classes_of

MAX_RESOLUTION = 1024
"""Largest side that a model's description allows (IGME); a pipeline may make larger pictures."""


@dataclass(frozen=True)
class Adopted:
    """Facts about a pipeline for its model's description; the model's weights file is empty."""

    name: str
    """Hub id, or the folder's name."""
    config: dict[str, Any]
    """A valid `StableDiffusionConfig`."""
    resolution: int
    """Side of the pictures that it makes by default, pixels."""


def adopt(
    pipeline: str,
    revision: str | None = None,
    variant: str | None = None,
    dtype: Precision = "auto",
    allow_pickles: bool = False,
) -> Adopted:
    """Check a pipeline's folder, or download it by its hub id, and describe the model it makes.

    Nothing is loaded. A folder's place is kept on this machine, apart from the description, which
    names the pipeline and its content alone. Raises `PipelineError`, one line each, where it is
    missing or not a pipeline for pictures, the hub cannot be reached, it would run code of its own,
    or its weights are pickles and those are not allowed.
    """
    files = find_pipeline(pipeline, revision, variant, allow_pickles)
    classes_of(files.index["_class_name"], pipeline)  # refuses what makes no pictures
    name = pipeline if files.revision else files.folder.name
    config = StableDiffusionConfig(
        pipeline=name,
        revision=files.revision,
        files_sha256=files.digest(),
        variant=variant,
        dtype=dtype,
        allow_pickles=allow_pickles,
    )
    if not files.revision:
        keep_place(config.files_sha256, files.folder)
    return Adopted(name, config.model_dump(), _resolution(files))


def _resolution(files: PipelineFiles) -> int:
    """Side of the pictures: the denoiser's, times what the autoencoder enlarges by."""
    for component in ("super_res_last", "unet", "transformer", "prior"):
        size = files.settings(component).get("sample_size")
        if size:
            side = max(size) if isinstance(size, list) else size  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            blocks = files.settings("vae").get("block_out_channels", [0])
            return min(side * 2 ** (len(blocks) - 1), MAX_RESOLUTION)  # pyright: ignore[reportUnknownArgumentType]
    return 512
