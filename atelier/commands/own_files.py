"""A person's own files on the command line: enhance, convert and rework."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from atelier.choices import check_generation, choose
from atelier.commands.frame import Common, ModelFlag, OutputFlag, Pictures, assembled, command
from atelier.models import pick_model
from atelier.own_files import Errand, Requests, Rework, Treatment, own_file
from components.conversion import MEDIA_TYPES, find_pictures, read_picture, read_record
from components.families import FAMILIES
from interfaces.components import Components
from interfaces.errors import AtelierError
from interfaces.ics import ICS
from interfaces.ies import IES
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.iodt import IODT, check_conversion, suffix_of
from interfaces.places import expanded
from settings import Layer, merge


@command(
    "enhance",
    "convert",
    usual=("scale", "enhancer", "strength", "denoise", "weights", "format", "quality"),
)
def enhance(
    pictures: Pictures,
    *,
    output: OutputFlag = None,
    common: Common = Common(),
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
    common: Common = Common(),
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

_UNENLARGED: Layer = {"enhance": {"scale": 1}}


@command(
    "generate",
    "enhance",
    "convert",
    usual=("style", "prompt", "mask", "scale", "enhancer", "format"),
    below=_UNENLARGED,
)
def rework(
    pictures: Pictures,
    *,
    model: ModelFlag = None,
    output: OutputFlag = None,
    common: Common = Common(),
    given: Layer,
) -> int:
    """Make a new picture from each of yours with a model; results that exist already are skipped.

    How much of a picture is kept depends on the model. The model that comes with the project paints
    it anew in its own touch and keeps what it shows (--source-strength says how freely). Stable
    Diffusion paints it by --prompt, and a CycleGAN trained for it turns it into another --style:
    these two are adopted (`adopt`).
    """
    if needless := {"source", "count", "seeds"} & given.get("generate", {}).keys():
        raise AtelierError(f"{min(needless)}: `rework` makes one picture a file; leave it out")
    below = merge(_UNENLARGED, {"generate": {"source": str(pictures[0])}})
    chosen = choose(merge(below, common.layer(given)))
    picked = pick_model(common.place, model, chosen.generate)
    opened = picked.model
    _check_reads_pictures(opened)
    with assembled(common.place, chosen.components) as parts:
        check_generation(chosen, opened.family, opened.styles)
        parts.ui.say(picked.line())
        if limits := _LIMITS.get(opened.family):
            parts.ui.warn(limits.format(side=opened.resolution))
        settings = _for_rework(chosen.generate, opened)
        requests = Requests(common.place.requests)
        work = Rework(parts.generation, opened, settings, read_picture, parts.ui.watch, requests)
        treatment = Treatment(
            "rework", work.read, work.file_of, work.keep, chosen.enhance, chosen.convert
        )
        return _work_on(pictures, parts, treatment, output)


_LIMITS = {
    "vae": "this model shows what it knows of a picture, {side}x{side} pixels small",
    "stylegan2": (
        "this model looks for the nearest picture that it can make, {side}x{side} pixels small: "
        "what it never learnt does not come back"
    ),
}
"""What a person must not expect of a family that reads pictures."""


def _check_reads_pictures(model: IGME) -> None:
    family = FAMILIES.get(model.family)
    if family and not family.reads("source"):
        able = ", ".join(name for name, known in FAMILIES.items() if known.reads("source"))
        raise AtelierError(
            f"{model.directory}: a {family.name} model cannot read pictures; "
            f"name with --model one of the families {able}"
        )


def _for_rework(settings: IGS, model: IGME) -> IGS:
    """The settings with the family's own choice for a person's picture, where none was made."""
    family = FAMILIES.get(model.family)
    if family is None:
        return settings
    options = family.options.model_validate(settings.options).for_rework()
    return settings.model_copy(update={"options": options.model_dump(mode="json")})


def _work_on(
    pictures: Sequence[Path], parts: Components, treatment: Treatment, output: Path | None
) -> int:
    """Work on files and folders; the exit code: 0, or 3 where some could not be used."""
    check_conversion(parts.conversion, treatment.convert)
    media_type = MEDIA_TYPES.get(treatment.convert.format, f"image/{treatment.convert.format}")
    found = find_pictures([expanded(path) for path in pictures])
    is_whole = Errand(parts, treatment, read_record, suffix_of(media_type), output).run(found)
    return 0 if is_whole else SOME_PASSED_OVER
