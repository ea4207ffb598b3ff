"""A person's own files on the command line: enhance, convert and rework."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from atelier.choices import choose
from atelier.commands.frame import Making, ModelFlag, OutputFlag, Pictures, assembled, command
from atelier.models import pick_model
from atelier.own_files import Errand, Treatment, own_file
from atelier.own_files.reworking import (
    UNENLARGED,
    check_reads_pictures,
    open_rework,
    refuse_needless,
    settings_of_rework,
)
from components.conversion import MEDIA_TYPES, find_pictures, read_picture, read_record
from interfaces.components import Components
from interfaces.ics import ICS
from interfaces.ies import IES
from interfaces.iodt import IODT, check_conversion, suffix_of
from interfaces.places import expanded
from settings import Layer


@command(
    "enhance",
    "convert",
    usual=("scale", "enhancer", "strength", "denoise", "weights", "format", "quality"),
)
def enhance(
    pictures: Pictures,
    *,
    output: OutputFlag = None,
    common: Making = Making(),
    given: Layer,
) -> int:
    """Enlarge any pictures with Real-ESRGAN; results that exist already are skipped."""
    chosen = choose(common.layer(given))
    with assembled(common.place, chosen.components) as parts:
        treatment = _treatment("enhance", chosen.enhance, chosen.convert)
        return _work_on(pictures, parts, treatment, output)


@command("convert", usual=("format", "quality", "lossless"))
def convert(
    pictures: Pictures,
    *,
    output: OutputFlag = None,
    common: Making = Making(),
    given: Layer,
) -> int:
    """Convert pictures to another file format; records made by Atelier go with them."""
    chosen = choose(common.layer(given))
    with assembled(common.place, chosen.components) as parts:
        treatment = _treatment("convert", IES(scale=1), chosen.convert)
        return _work_on(pictures, parts, treatment, output)


def _treatment(stage: str, enhance: IES, convert: ICS) -> Treatment:
    """Work that makes no new picture; what is too large for it is refused by its header."""
    read = partial(read_picture, scale=enhance.scale, file_format=convert.format)
    return Treatment(stage, read, own_file, _leave, enhance, convert)


def _leave(image: IODT) -> None:
    """The record of such a picture says all that the next run must know."""


SOME_PASSED_OVER = 3
"""Exit code where some files could not be used and the others were."""


@command(
    "generate",
    "enhance",
    "convert",
    usual=("source_strength", "style", "prompt", "mask", "scale", "enhancer", "format"),
    below=UNENLARGED,
)
def rework(
    pictures: Pictures,
    *,
    model: ModelFlag = None,
    output: OutputFlag = None,
    common: Making = Making(),
    given: Layer,
) -> int:
    """Make a new picture from each of yours with a model; results that exist already are skipped.

    How much of a picture is kept depends on the model. The model that comes with the project
    repaints it in its own manner and keeps the subject (--source-strength says how freely). Stable
    Diffusion (`adopt`) paints it by --prompt; a CycleGAN (`train --preset cyclegan_64`) turns it
    into another --style; a VAE or a StyleGAN2 shows what it knows of it.
    """
    refuse_needless(given)
    chosen = settings_of_rework(common.layer(given), pictures[0])
    picked = pick_model(common.place, model, chosen.generate, repaints=True)
    check_reads_pictures(picked.model)
    with assembled(common.place, chosen.components) as parts:
        parts.ui.say(picked.line())
        work = open_rework(parts, common.place, picked.model, chosen)
        treatment = Treatment(
            "rework", work.read, work.file_of, work.keep, chosen.enhance, chosen.convert
        )
        return _work_on(pictures, parts, treatment, output)


def _work_on(
    pictures: Sequence[Path], parts: Components, treatment: Treatment, output: Path | None
) -> int:
    """Work on files and folders; the exit code: 0, or 3 where some could not be used."""
    check_conversion(parts.conversion, treatment.convert)
    media_type = MEDIA_TYPES.get(treatment.convert.format, f"image/{treatment.convert.format}")
    found = find_pictures([expanded(path) for path in pictures])
    is_whole = Errand(parts, treatment, read_record, suffix_of(media_type), output).run(found)
    return 0 if is_whole else SOME_PASSED_OVER
