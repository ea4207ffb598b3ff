"""A picture's record in words: what it was made from and how, then the figures."""

from collections.abc import Mapping

from interfaces.record import EnhancementRecord, GeneratedOrigin, Record

COPY_BELOW = 0.45
"""Mirrored, moved or brighter copies of training pictures lie below (see docs/training.md)."""

UNSEEN_FROM = 0.7
"""Originality reached by 19 of 20 pictures that were never learnt from."""


def lines_of(record: Record) -> list[tuple[str, str]]:
    """Contents of a record, as pairs of a name and words."""
    origin = record.origin
    said = [("made by", maker_of(record))]
    if origin.kind == "generated":
        said += [
            ("style", style_of(origin)),
            ("seed", str(origin.seed)),
            ("prompt", origin.prompt or ""),
            *((given.role.replace("_", " "), given.name) for given in origin.inputs),
            ("options", _options(origin.options)),
            ("learnt from", origin.dataset_name),
            ("nearest", _nearness(origin.originality)),
            ("model digest", origin.model_digest),
        ]
    else:
        said += [("file digest", origin.sha256)]
    said += [
        ("enlarged", _enlargement(record.enhancement)),
        ("change", _change(record.drift)),
        ("written as", _encoding(record.conversion)),
        ("software", record.software),
    ]
    if record.source is not None:
        said.append(("before", f"{maker_of(record.source)} (claimed by the file)"))
    return said


def maker_of(record: Record) -> str:
    """Maker of the picture: 'a sketch_diffusion model', or the file that it was."""
    origin = record.origin
    return f"a {origin.family} model" if origin.kind == "generated" else f"the file {origin.name}"


def style_of(origin: GeneratedOrigin) -> str:
    """'Baroque', 'Baroque, half way to Ukiyo_e', or '' where none was asked for."""
    if origin.style is None or origin.towards_style is None:
        return origin.style or ""
    share = round(100 * (origin.style_blend or 0))
    return f"{origin.style}, {share} % of the way to {origin.towards_style}"


def _nearness(originality: float | None) -> str:
    """Nearness of the nearest training picture in words, the figure last; '' for None."""
    if originality is None:
        return ""
    if originality < COPY_BELOW:
        words = "very near a training picture, perhaps a copy: compare the two"
    elif originality < UNSEEN_FROM:
        words = "nearer a training picture than most new pictures are"
    else:
        words = "no nearer a training picture than new pictures are"
    return f"{words} (originality {originality:.2f}; 0 is a copy)"


def _options(options: Mapping[str, object]) -> str:
    """The family's own options that say something: 'truncation 0.7, steps 16'."""
    chosen = ((name, value) for name, value in options.items() if value is not None)
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in chosen)


def _encoding(conversion: Mapping[str, object]) -> str:
    """'png', 'jpeg of quality 92', 'webp without loss'."""
    name = str(conversion.get("format", ""))
    if conversion.get("lossless"):
        return f"{name} without loss"
    quality = conversion.get("quality")
    return f"{name} of quality {quality}" if name in _LOSSY and quality is not None else name


_LOSSY = ("jpeg", "webp", "avif")


def _enlargement(record: EnhancementRecord) -> str:
    if record.scale == 1:
        return "not at all"
    network = record.enhancer.replace("+", " and ")
    stand_in = ", in place of a network that was not at hand" if record.is_fallback else ""
    return f"{record.scale} times each side by {network}{stand_in}"


def _change(drift: float | None) -> str:
    """Change that enlarging made to the picture in words, the figure last; '' for None."""
    if drift is None:
        return ""
    words = "hardly any by enlarging" if drift < 2 else "visible by enlarging"
    return f"{words} ({drift:.1f} of 255 levels, root mean square)"
