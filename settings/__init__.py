"""Presets as TOML, and how presets, environment and flags make the settings of a run.

Later layers override earlier ones: `default.toml`, the presets that were named, the environment,
the flags. Every value is checked by the contract or settings model it belongs to.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from pydantic import BaseModel, Field, ValidationError, model_validator

from components.common.credentials.places import FOLDER, PASSPHRASE, SERVICE_TOKEN
from interfaces.contract import Message, explain
from interfaces.errors import NotFoundError, RefusedError, unreadable
from interfaces.experiments import BenchmarkSettings, SearchSettings, SketchStudySettings
from interfaces.ics import ICS
from interfaces.ies import IES
from interfaces.igme import TrainingSettings
from interfaces.igs import IGS
from interfaces.ipdt import PreprocessingSettings
from interfaces.itdt import CollectionSettings
from interfaces.measurement import EvaluationSettings
from interfaces.places import expanded

_Model = TypeVar("_Model", bound=BaseModel)

Layer = dict[str, Any]
"""Sections by name, each a table of fields; 'components' is a table of replacements."""

PRESETS = Path(__file__).parent

ENVIRONMENT_PREFIX = "ATELIER_"

_OTHER_VARIABLES = {
    "ATELIER_WORKSPACE",
    "ATELIER_CACHE",
    "ATELIER_CACHE_GIB",
    "ATELIER_RESULTS_INDEX",
    "ATELIER_TOKEN",
    FOLDER,
    PASSPHRASE,
    SERVICE_TOKEN,
}


_MAX_PRESET_BYTES = 2**20
"""Largest size of a TOML file in bytes; reading a device or a disk image would not end."""


class RunSettings(Message):
    """All that fixes a run; saved before it starts."""

    collect: CollectionSettings = Field(description="Which collection.")
    preprocess: PreprocessingSettings = Field(description="How its pictures are prepared.")
    train: TrainingSettings = Field(description="Which family, how long.")
    generate: IGS = Field(description="How many pictures, which seeds.")
    enhance: IES = Field(description="How much larger, by which network.")
    convert: ICS = Field(description="Which file format.")
    components: dict[str, str] = Field(
        default_factory=dict, description="Replacements: component name to 'package:factory'."
    )

    @model_validator(mode="after")
    def _skips_nothing(self) -> Self:
        if self.generate.skip:
            raise ValueError("generate.skip is no setting: resuming a run skips what is there")
        return self


SECTIONS: dict[str, type[BaseModel]] = {
    "collect": CollectionSettings,
    "preprocess": PreprocessingSettings,
    "train": TrainingSettings,
    "generate": IGS,
    "enhance": IES,
    "convert": ICS,
}


COMMANDS: dict[str, type[BaseModel]] = {
    "benchmark": BenchmarkSettings,
    "evaluate": EvaluationSettings,
    "search": SearchSettings,
    "study": SketchStudySettings,
}
"""Sections that are no part of a run, but of a command of their own."""


def preset_names() -> list[str]:
    """The presets that come with the project, by the names `load_preset` takes."""
    files = PRESETS.rglob("*.toml")
    return sorted(path.relative_to(PRESETS).with_suffix("").as_posix() for path in files)


def load_preset(name: str) -> Layer:
    """A preset by name ('papers/wgan_gp') or by the path of a TOML file.

    Raises `AtelierError` where there is none, it is not TOML, or a section is unknown.
    """
    path = PRESETS / f"{name}.toml" if name in preset_names() else expanded(Path(name))
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_PRESET_BYTES + 1)
        if len(data) > _MAX_PRESET_BYTES:
            raise ValueError("over a megabyte")
        layer = tomllib.loads(data.decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise NotFoundError(
            f"preset {name!r}: no such file, and no preset of that name; there are "
            f"{', '.join(preset_names())}"
        ) from error
    except (OSError, ValueError, RecursionError) as error:  # a TOMLDecodeError is a ValueError
        raise unreadable(error)(f"preset {path}: not readable as TOML ({error})") from error
    _refuse_unknown_sections(layer, f"preset {path}")
    return layer


def from_environment(environment: Mapping[str, str]) -> Layer:
    """ATELIER_GENERATE_COUNT=4 => {"generate": {"count": "4"}}.

    A family's option is ATELIER_TRAIN_OPTIONS_LEARNING_RATE. Raises `AtelierError` for a variable
    that begins so and names nothing.
    """
    layer: Layer = {}
    for variable, value in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in _OTHER_VARIABLES:
            continue
        section, _, field = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("_")
        option = field.removeprefix("options_")
        known = SECTIONS | COMMANDS
        fields = known[section].model_fields if section in known else {}
        if field in fields:
            layer.setdefault(section, {})[field] = value
        elif "options" in fields and option != field:
            layer.setdefault(section, {}).setdefault("options", {})[option] = value
        else:
            raise RefusedError(
                f"environment variable {variable}: names no setting; they are named by section and "
                "field, as ATELIER_GENERATE_COUNT"
            )
    return layer


def merge(*layers: Layer) -> Layer:
    """One layer of several, later ones over earlier ones, table by table."""
    merged: Layer = {}
    for layer in layers:
        for name, value in layer.items():
            known = merged.get(name)
            if isinstance(known, dict) and isinstance(value, dict):
                merged[name] = merge(cast(Layer, known), cast(Layer, value))
            else:
                merged[name] = value
    return merged


def resolve(layer: Layer) -> RunSettings:
    """Check a merged layer, less what is of other commands.

    Raises `AtelierError` that names each field at fault.
    """
    of_a_run = {name: table for name, table in layer.items() if name not in COMMANDS}
    return validate(RunSettings, of_a_run, "settings")


def validate(model: type[_Model], values: Mapping[str, object], what: str) -> _Model:
    """Check values against a model; the error is one line for a person, beginning with `what`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise RefusedError(explain(error, what, model)) from error


def _refuse_unknown_sections(layer: Layer, where: str) -> None:
    known = [*SECTIONS, *COMMANDS, "components"]
    for name, value in layer.items():
        if name not in known and not isinstance(value, dict):
            raise RefusedError(
                f"{where}: {name} stands in no section; put it under one of {', '.join(known)}"
            )
        if name not in known or not isinstance(value, dict):
            raise RefusedError(f"{where}: [{name}] is no section; there are {', '.join(known)}")
