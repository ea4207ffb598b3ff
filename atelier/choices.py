"""Choices: what was given (presets, environment, flags, an order) => checked settings."""

import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import settings
from atelier.assembly import check_names
from components.common.files import whole_path
from components.common.remote_models import fetch_model
from components.common.shipped import SHIPPED_MODELS, find_shipped
from components.families import FAMILIES, requests
from components.training import check_trackers
from interfaces.capabilities import Capabilities, capabilities_of
from interfaces.components import Components
from interfaces.contract import refuse_unless_offered
from interfaces.errors import RefusedError
from interfaces.igme import IGME
from interfaces.igs import IGS, INPUT_FILES
from interfaces.iodt import check_conversion
from interfaces.places import Url, expanded, is_url, place_of
from settings import Layer, RunSettings, load_preset, merge, validate

NEW_SEEDS = 10**9
"""Seeds that are drawn lie below: enough to meet none twice, and still easy to type."""


def choose(given: Layer) -> RunSettings:
    """Checked settings, the family's own among them, with paths that hold from any folder.

    What was not given comes from the model that training starts from, then from `default.toml`.
    Raises `AtelierError` in one line that names the field at fault.
    """
    chosen = settings.resolve(with_defaults(given))
    check_names(chosen.components)  # first: a field may be refused for want of the replacement
    _check_offered(chosen)
    if "training" not in chosen.components:  # a replaced trainer knows its own
        _check_family(chosen)
        check_trackers(chosen.train)
    return _anchored(chosen)


def with_defaults(given: Layer) -> Layer:
    """Given settings, over those of the model that training starts from, over `default.toml`.

    Raises `AtelierError` where another family was given than that model's, or a resolution that is
    neither its own nor twice that of a model that can grow.
    """
    below = _default_below(given)
    start = merge(below, given)["train"].get("start_from")
    if start in (None, "none"):
        return merge(below, given)
    named = place_of(str(start))
    folder = fetch_model(named) if isinstance(named, Url) else find_shipped(Path(start))
    origin = IGME.open(folder)
    if origin.family not in FAMILIES:
        raise RefusedError(f"{start}: a {origin.family} model, a family that is not known here")
    taken = {"family": origin.family, "options": _first_options(given, str(start), origin)}
    place = str(start) if str(start) in SHIPPED_MODELS else str(origin.directory.absolute())
    of_origin = {"preprocess": {"resolution": origin.resolution}, "train": taken}
    return merge(below, of_origin, given, {"train": {"start_from": place}})


def has_seed(given: Layer) -> bool:
    """Whether it was given which pictures to make."""
    return bool({"seed", "seeds"} & given.get("generate", {}).keys())


def with_seed(given: Layer) -> Layer:
    """Given settings, with a first seed drawn where none is named: new pictures every time."""
    if has_seed(given):
        return given
    return merge(given, {"generate": {"seed": secrets.randbelow(NEW_SEEDS)}})


def _default_below(given: Layer) -> Layer:
    """`default.toml`, less the defaults that something given replaces.

    The model that the default starts from has its own family and resolution, and its budget is for
    whoever names none: they give way where another family, resolution, model or budget is named.
    """
    default = load_preset("default")
    asked: Layer = given.get("train", {})
    train: Layer = default["train"]
    family = train["family"]
    usual = default["preprocess"]["resolution"]
    wanted = given.get("preprocess", {}).get("resolution", usual)
    starts = asked.get("start_from") not in (None, "none")
    if starts or "family" in asked or str(wanted) != str(usual):
        train.pop("start_from")
    if starts:
        train.pop("family")  # it is that model's
    if "total_images" in asked:  # measuring is part of the budget
        train.pop("total_seconds")
        train.pop("measure_count")
    elif "family" in asked and asked["family"] != family:
        train.pop("measure_count")
    elif "total_seconds" in asked:
        train["measure_count"] = _measured_within(asked["total_seconds"], train["measure_count"])
    if str(asked.get("measure_images")) == "0":
        train.pop("measure_features")
        train.pop("measure_count", None)
    return default


def _measured_within(seconds: object, least: int) -> int:
    """Pictures that a diffusion model makes in a tenth of the time, at 0.3 s a picture or less."""
    try:
        fitting = int(float(str(seconds)) / 3)
    except (ValueError, OverflowError):
        return least  # what is no number of seconds is refused in its own place
    return min(1000, max(least, fitting))


def _first_options(given: Layer, start: str, origin: IGME) -> dict[str, Any]:
    """Options that suit a start from this model, at its resolution or at twice that."""
    family = given.get("train", {}).get("family", origin.family)
    if family != origin.family:
        raise RefusedError(
            f"train.family: {start} is a {origin.family} model; leave family out, or start from "
            "'none'"
        )
    config = FAMILIES[family].config
    resolution = str(given.get("preprocess", {}).get("resolution", origin.resolution))
    if resolution == str(origin.resolution):
        return config.adapted(origin.config)
    grown = config.grown(origin.config)
    if grown is None or resolution != str(2 * origin.resolution):
        or_twice = "" if grown is None else f", or {2 * origin.resolution} to let it grow"
        raise RefusedError(
            f"preprocess.resolution: {start} makes pictures of {origin.resolution} pixels; leave "
            f"resolution out{or_twice}, or start from 'none'"
        )
    return grown


def _check_family(chosen: RunSettings) -> None:
    """Refuse what training would refuse, before a collection is prepared for it."""
    name, train = chosen.train.family, chosen.train
    if name not in FAMILIES:
        raise RefusedError(f"train.family: {name!r} is unknown; there are {', '.join(FAMILIES)}")
    if not FAMILIES[name].is_trainable:
        raise RefusedError(f"train.family: {name} comes trained; `adopt` takes such a model in")
    config = validate(FAMILIES[name].config, train.options, "train.options")
    try:
        config.check_resolution(chosen.preprocess.resolution)
    except ValueError as error:
        raise RefusedError(f"preprocess.{error}") from error


def _check_offered(chosen: RunSettings) -> None:
    """Refuse first what our own components would refuse; a replaced one checks for itself."""
    for section, component in _CARRIED_OUT_BY.items():
        if component not in chosen.components:
            refuse_unless_offered(getattr(chosen, section), section)


_CARRIED_OUT_BY = {
    "train": "training",
    "generate": "generation",
    "enhance": "enhancement",
    "convert": "conversion",
}


def _anchored(chosen: RunSettings) -> RunSettings:
    """The same settings with absolute paths, so that they hold from any folder."""
    collect, generate, enhance = chosen.collect, chosen.generate, chosen.enhance
    if not is_url(collect.data) and _may_be_there(expanded(Path(collect.data))):
        data = str(whole_path(Path(collect.data)))
        collect = collect.model_copy(update={"data": data})
    if collect.styles_csv:
        collect = collect.model_copy(update={"styles_csv": _absolute(collect.styles_csv)})
    if enhance.weights:
        enhance = enhance.model_copy(update={"weights": _absolute(enhance.weights)})
    named = {role: getattr(generate, role) for role in INPUT_FILES}
    files = {role: _absolute(path) for role, path in named.items() if path}
    generate = generate.model_copy(update=files)
    return chosen.model_copy(update={"collect": collect, "generate": generate, "enhance": enhance})


def _may_be_there(path: Path) -> bool:
    """Whether a file exists, or the folder of those that a name with braces stands for."""
    return path.exists() or ("{" in path.name and path.parent.is_dir())


def _absolute(path: Path) -> Path:
    return expanded(path).absolute()


def check_generation(chosen: RunSettings, family: str, styles: Sequence[str] | None) -> None:
    """`check_request` for a run's settings; a replaced generator checks its own."""
    if "generation" not in chosen.components:
        check_request(family, styles, chosen.generate)


def check_files(chosen: RunSettings) -> None:
    """Open the header of each file that generation is given, so that nothing is begun in vain.

    A replaced generator checks its own. Raises `AtelierError` for one that cannot be read.
    """
    from components.common.images import check_header, foreign  # Pillow, which help does without

    if "generation" in chosen.components:
        return
    for name in INPUT_FILES:
        if (path := getattr(chosen.generate, name)) is not None:
            with foreign(str(path)):
                check_header(expanded(path))


def check_declared(parts: Components, chosen: RunSettings, family: str) -> None:
    """Refuse what a component declares that it cannot do. Raises `AtelierError`.

    `family` is that of the model that makes the pictures.
    """

    def declared(name: str) -> Capabilities:
        return capabilities_of(getattr(parts, name), f"component {name}")

    declared("generation").check_family("component generation", family)
    declared("enhancement").check_scale("component enhancement", chosen.enhance.scale)
    declared("conversion").check_format("component conversion", chosen.convert.format)
    check_conversion(parts.conversion, chosen.convert)


def check_request(
    family_name: str,
    styles: Sequence[str] | None,
    request: IGS,
    uploaded: Iterable[str] = (),
) -> None:
    """Refuse what a family could not make: options, inputs and styles it does not know.

    `styles` are those that its model knows or will know, None while that is open; `uploaded` names
    inputs that are given beside the request. A family that is not in the table is its generator's
    to check. Raises `AtelierError`.
    """
    family = FAMILIES.get(family_name)
    if family is None:
        return
    if reason := family.why_not({*request.given, *uploaded}):
        raise RefusedError(f"generate.{reason}")
    requests.check_request(family, styles, request, section="generate.", uploaded=uploaded)
