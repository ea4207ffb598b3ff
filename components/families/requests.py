"""What of a request a family and its model could not carry out, refused in one line.

Doors check a request before anything is begun, and generation before it makes the first picture.
"""

from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from components.common.names import place_among
from components.families import AnyFamily
from components.families.port import FamilyOptions
from components.families.text import nearest_style
from interfaces.contract import explain
from interfaces.errors import RefusedError
from interfaces.igs import IGS


def check_request(
    family: AnyFamily,
    styles: Sequence[str] | None,
    request: IGS,
    *,
    section: str = "",
    uploaded: Iterable[str] = (),
) -> FamilyOptions:
    """Refuse options without effect, and styles that a model does not know; returns the options.

    `styles` are those that the model knows or will know, None while that is open; `uploaded` names
    inputs that are given beside the request. Lines name a field after the `section`, such as
    `generate.`, that it stands in. Inputs are `family.why_not`'s to refuse. Raises `RefusedError`.
    """
    try:
        options = family.options.model_validate(request.options)
    except ValidationError as error:
        raise RefusedError(explain(error, f"{section}options", family.options)) from error
    for fault in options.idle({*request.asked_for, *uploaded}):
        raise RefusedError(f"{section}options.{fault}; leave it out")
    if request.prompt is not None and family.names_style_in_words:
        _check_style_in_words(request.prompt, request.style, styles, section)
    for field in ("style", "towards_style"):
        _check_style(family, f"{section}{field}", getattr(request, field), styles)
    return options


def _check_style_in_words(
    prompt: str, style: str | None, styles: Sequence[str] | None, section: str
) -> None:
    """Refuse words that name no style, and those beside a style that is named already."""
    if style is not None:
        raise RefusedError(
            f"{section}prompt: this model reads a style in it and no more, and {section}style "
            "names one; leave one out"
        )
    if styles is not None and nearest_style(prompt, styles) is None:
        raise RefusedError(
            f"{section}prompt: {prompt!r} names none of the styles that this model knows; it knows "
            f"{', '.join(styles)}"
        )


def _check_style(
    family: AnyFamily, field: str, style: str | None, styles: Sequence[str] | None
) -> None:
    if style is not None and not family.is_conditional:
        raise RefusedError(
            f"{field}: a {family.name} model cannot be asked for a style; leave it out"
        )
    if style is not None and styles is not None and place_among(style, styles) is None:
        raise RefusedError(
            f"{field}: this model does not know {style!r}; it knows {', '.join(styles)}"
        )
