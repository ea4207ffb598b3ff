"""Command-line flags made from the settings models, so that a field is described once.

Every field has a long flag that names its section (`--train.seed`) and, where the name is wanted
alone, a short one (`--seed`), which sets the field in every section of the command that has it.
Values stay text here: the model that owns a field is what checks it.
"""

import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from cyclopts import Group, Parameter
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from atelier.commands.helping import OPTIONS
from interfaces.contract import offered
from settings import Layer

# Fields that no person sets: the schema's version, a family's options (they have flags of their
# own), and where a resumed request goes on.
_HIDDEN = {"schema_version", "options", "skip"}


Command = Callable[..., int | None]
"""Function that carries a command out; returns its exit code, None for 0."""


@dataclass(frozen=True)
class Flag:
    """One flag: which fields it sets, and what its help says."""

    name: str
    """Name as typed, without the dashes before it: 'train.seed' or 'seed'."""
    targets: tuple[tuple[str, ...], ...]
    """Paths into the settings: (('train', 'seed'),)."""
    help: str
    metavar: str
    """Placeholder of its value in the help: 'N', 'PATH', '1|4|16'."""
    group: str
    is_switch: bool
    is_shown: bool

    @property
    def variable(self) -> str:
        """A Python name for the flag's parameter."""
        return "flag_" + self.name.replace(".", "__")


@dataclass(frozen=True)
class _Owner:
    """A field that a flag sets, where it is, and under which heading the help shows it."""

    path: tuple[str, ...]
    info: FieldInfo
    group: str


def flags_of(
    sections: Mapping[str, type[BaseModel]],
    options: Mapping[str, Mapping[str, type[BaseModel]]],
    defaults: Layer,
    names: Mapping[tuple[str, str], Iterable[str]],
    hidden: Collection[tuple[str, str]] = (),
) -> list[Flag]:
    """The flags of a command: every field by its long name, and by its short one.

    The help shows the short name where it means one field alone, else both.

    `sections` maps a section to its settings model; `options` maps a section to its families'
    option models by family name; `defaults` is the preset that stands below whatever is given;
    `names` lists what a field of free text may name, by section and field; `hidden` are fields
    and options that have no flag.
    """
    owners: dict[str, list[_Owner]] = {}
    for section, model in sections.items():
        for name, info in model.model_fields.items():
            if name not in _HIDDEN and (section, name) not in hidden:
                info = _with_default(info, defaults.get(section, {}).get(name))
                info = _with_names(info, names.get((section, name), ()))
                owner = _Owner((section, name), info, section.capitalize())
                owners.setdefault(name, []).append(owner)
        for name, (info, families) in _joined(options.get(section, {})).items():
            if (section, name) in hidden:
                continue
            if name in defaults.get(section, {}).get("options", {}):
                info = _with_default(info, "by family and preset")
            group = f"{section.capitalize()}, options of {', '.join(families)}"
            owner = _Owner((section, "options", name), info, group)
            owners.setdefault(name, []).append(owner)
    flags: list[Flag] = []
    for name, alike in owners.items():
        if len(alike) == 1:
            flags.append(_flag(name, alike[0], is_shown=True))
        else:
            flags.append(_flag_for_all(name, alike))
        flags += [_flag(".".join(o.path), o, is_shown=len(alike) > 1) for o in alike]
    return flags


def _joined(
    families: Mapping[str, type[BaseModel]],
) -> dict[str, tuple[FieldInfo, list[str]]]:
    """Option fields by name, each with the families that have it."""
    joined: dict[str, tuple[FieldInfo, list[str]]] = {}
    for family, model in families.items():
        for name, info in model.model_fields.items():
            first, owners = joined.setdefault(name, (info, []))
            owners.append(family)
            if first.default != info.default:
                joined[name] = (_with_default(first, "by family"), owners)
    return joined


def _with_default(info: FieldInfo, default: object) -> FieldInfo:
    """The field with another default to show; as it is where there is none."""
    if default is None:
        return info
    changed = copy(info)
    changed.default = default
    return changed


def _with_names(info: FieldInfo, names: Iterable[str]) -> FieldInfo:
    """The field with what it may name added to its description."""
    if not (listed := ", ".join(names)):
        return info
    changed = copy(info)
    changed.description = f"{info.description} One of: {listed}."
    return changed


def _flag(name: str, owner: _Owner, *, is_shown: bool) -> Flag:
    return Flag(
        name=name,
        targets=(owner.path,),
        help=_help(owner.info),
        metavar=_metavar(owner.info),
        group=owner.group,
        is_switch=owner.info.annotation is bool,
        is_shown=is_shown,
    )


def _flag_for_all(name: str, alike: list[_Owner]) -> Flag:
    stages = ", ".join(owner.path[0] for owner in alike)
    return Flag(
        name=name,
        targets=tuple(owner.path for owner in alike),
        help=f"Sets it for all of: {stages}.",
        metavar=_metavar(alike[0].info),
        group="Several stages at once",
        is_switch=alike[0].info.annotation is bool,
        is_shown=True,
    )


def _help(info: FieldInfo) -> str:
    """The field's own description, what is allowed, and the default."""
    choices = [] if _fit(info) else _choices(info)
    allowed = [*choices, *_bounds(info)]
    default = None if info.is_required() else info.get_default(call_default_factory=False)
    if default not in (None, ()) and info.annotation is not bool:
        allowed.append(f"default {_in_words(default)}")
    return f"{info.description}" + (f" [{'; '.join(allowed)}]" if allowed else "")


def _in_words(default: object) -> str:
    """A default as it is typed: (2, 7) => '2, 7'."""
    return str(default).strip("()")


def _choices(info: FieldInfo) -> list[str]:
    """Values to choose from, as one text; empty where any value of the type is allowed."""
    if values := offered(info):
        return [", ".join(map(str, values))]
    return _literals(info.annotation)


def _literals(annotation: object) -> list[str]:
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return [", ".join(str(choice) for choice in typing.get_args(annotation))]
    if origin in (typing.Union, types.UnionType):
        return [text for part in typing.get_args(annotation) for text in _literals(part)]
    return []


_METAVARS = {tuple: "LIST", int: "N", float: "NUMBER", Path: "PATH", datetime: "TIME", str: "TEXT"}

_MAX_METAVAR = 30
"""Letters of choices that still fit beside a flag's name."""


def _metavar(info: FieldInfo) -> str:
    """Placeholder of the value: its choices where they are short, else its type."""
    if choices := _choices(info):
        return choices[0].replace(", ", "|") if _fit(info) else "NAME"
    kinds = [info.annotation, *typing.get_args(info.annotation)]
    kinds += [typing.get_args(kind)[0] for kind in kinds if typing.get_origin(kind) is Annotated]
    bare = [typing.get_origin(kind) or kind for kind in kinds]
    return next((word for kind, word in _METAVARS.items() if kind in bare), "TEXT")


def _fit(info: FieldInfo) -> bool:
    """Whether the choices are short enough to stand beside the flag's name."""
    return 0 < len("".join(_choices(info))) <= _MAX_METAVAR


_BOUNDLESS = 2**31
"""Bounds from here on are not shown: they are far beyond any use."""


def _bounds(info: FieldInfo) -> list[str]:
    """'1 to 100', 'from 0', 'over 0 and below 1'."""
    names = {Ge: "from", Gt: "over", Le: "to", Lt: "below"}
    bounds = {
        name: getattr(constraint, kind.__name__.lower())
        for constraint in info.metadata
        for kind, name in names.items()
        if isinstance(constraint, kind)
    }
    said = [f"{name} {value}" for name, value in bounds.items() if value < _BOUNDLESS]
    return [" ".join(said).removeprefix("from ") if len(said) > 1 else said[0]] if said else []


def with_flags(command: Command, flags: Iterable[Flag], usual: Sequence[str] = ()) -> Command:
    """A function for cyclopts: `command` with its own parameters and these flags.

    `command` receives what was given as its keyword argument `given`, a nested settings layer.
    `usual` names the flags that the short help shows, in its order.
    """
    named = {flag.name: flag for flag in flags}
    first = [named.pop(name) for name in usual]
    flags = [*first, *named.values()]
    own = [
        parameter
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.name != "given"
    ]

    def run(*args: object, **kwargs: object) -> int | None:
        given = {flag: _typed(kwargs.pop(flag.variable, None)) for flag in flags}
        return command(*args, given=layer_of(given), **kwargs)

    positional = [p for p in own if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    parameters = [
        *positional,
        *(_parameter(flag, is_usual=True) for flag in first),
        *(parameter for parameter in own if parameter not in positional),
        *(_parameter(flag, is_usual=False) for flag in named.values()),
    ]
    run.__signature__ = inspect.Signature(parameters)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


def _typed(value: object) -> str | bool | None:
    """Value that cyclopts hands over for a flag."""
    assert value is None or isinstance(value, str | bool)
    return value


def _parameter(flag: Flag, *, is_usual: bool) -> inspect.Parameter:
    long = "--" + flag.name.replace("_", "-")
    meaning = Parameter(
        name=(long, _ALIASES[flag.name]) if flag.name in _ALIASES else (long,),
        help=flag.help,
        group=OPTIONS if is_usual else _group(flag.group),
        metavar=None if flag.is_switch else flag.metavar,
        negative=() if not flag.is_switch else None,
        show_default=False,
        show=flag.is_shown,
    )
    kind = bool | None if flag.is_switch else str | None
    return inspect.Parameter(
        flag.variable,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind, meaning],
    )


def _group(title: str) -> Group:
    return Group(title, sort_key=_GROUP_ORDER.get(title.split(",")[0], 8))


# A flag that reads better than its field's name, where Python keeps the word for itself.
_ALIASES = {"start_from": "--from"}

_GROUP_ORDER = {
    "Collect": 1,
    "Preprocess": 2,
    "Train": 3,
    "Generate": 4,
    "Enhance": 5,
    "Convert": 6,
    "Evaluate": 7,
    "Search": 7,
    "Several stages at once": 8,
}


def layer_of(given: Mapping[Flag, str | bool | None]) -> Layer:
    """Flags as they were typed => nested settings; a long flag overrides a short one."""
    layer: Layer = {}
    for flag in sorted(given, key=lambda flag: "." in flag.name):
        value = given[flag]
        if value is None:
            continue
        for *tables, field in flag.targets:
            table = layer
            for name in tables:
                table = table.setdefault(name, {})
            table[field] = value
    return layer
