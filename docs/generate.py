"""Write docs/contracts.md from the models themselves; `--check` only compares.

python docs/generate.py
"""

import inspect
import sys
import types
import typing
from pathlib import Path

import numpy as np
from pydantic import BaseModel
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from components.families import FAMILIES  # noqa: E402
from interfaces import contract  # noqa: E402
from interfaces.batch import Carried, Ingredient  # noqa: E402
from interfaces.ics import ICS  # noqa: E402
from interfaces.iedt import IEDT, Enhancer  # noqa: E402
from interfaces.ies import IES  # noqa: E402
from interfaces.igdt import IGDT, ImageGenerator  # noqa: E402
from interfaces.igme import IGME, Trainer, TrainingSettings  # noqa: E402
from interfaces.igs import IGS  # noqa: E402
from interfaces.iodt import IODT, Converter, ResultQuery, ResultsStore, StoredResult  # noqa: E402
from interfaces.ipdt import IPDT, PreprocessingSettings, Preprocessor  # noqa: E402
from interfaces.itdt import (  # noqa: E402
    ITDT,
    CollectionSettings,
    Duplicate,
    QuarantinedFile,
    TrainingImage,
    TrainingStore,
)
from interfaces.record import EnhancementRecord, FileOrigin, GeneratedOrigin, Record  # noqa: E402
from interfaces.ui import UserInterface  # noqa: E402

CONTRACTS = (ITDT, IPDT, IGME, IGDT, IEDT, IODT, IGS, IES, ICS)
PORTS = (
    TrainingStore,
    Preprocessor,
    Trainer,
    ImageGenerator,
    Enhancer,
    Converter,
    ResultsStore,
    UserInterface,
)
PARTS = (
    TrainingImage,
    QuarantinedFile,
    Duplicate,
    Carried,
    Ingredient,
    Record,
    GeneratedOrigin,
    FileOrigin,
    EnhancementRecord,
    StoredResult,
    ResultQuery,
)

HEAD = """# The contracts

Made from the models by `python docs/generate.py`; `make check` fails where it is out of date.

A contract is a frozen, closed Pydantic model: an unknown field, a value out of its range or an
array of another shape is refused. Each has `to_json`/`from_json` and `to_bytes`/`from_bytes`
(safetensors: the message as JSON in the header, its arrays and byte strings as tensors), so that a
stage can run in another process; `model_json_schema()` gives each a JSON schema.
"""


def page() -> str:
    """The whole of docs/contracts.md."""
    sections = [HEAD, _versions(), "## The nine messages\n"]
    sections += [_section(message, level=3) for message in CONTRACTS]
    sections += ["## What they are made of\n"]
    sections += [_section(part, level=3) for part in PARTS]
    sections += ["## Settings outside the contracts\n"]
    settings = (CollectionSettings, PreprocessingSettings, TrainingSettings)
    sections += [_section(model, level=3) for model in settings]
    sections += ["## The families' own settings\n"]
    for family in FAMILIES.values():
        sections.append(f"### `{family.name}`: {family.description}\n")
        sections.append("Training:\n\n" + _table(family.config))
        sections.append("Generation:\n\n" + _table(family.options))
    sections += ["## The ports\n", *(_port(port) for port in PORTS)]
    return "\n".join(sections)


def _versions() -> str:
    """The rule for versions, as the module states it that keeps it."""
    _, heading, rule = inspect.cleandoc(contract.__doc__ or "").partition("## Versions")
    return f"{heading}{rule}\n"


def _section(model: type[BaseModel], level: int) -> str:
    source = Path(inspect.getfile(model)).name
    text = inspect.cleandoc(model.__doc__ or "")
    return f"{'#' * level} `{model.__name__}` ({source})\n\n{text}\n\n{_table(model)}"


def _table(model: type[BaseModel]) -> str:
    if not model.model_fields:
        return "Nothing to choose.\n"
    rows = ["| field | type | allowed | default | meaning |", "|---|---|---|---|---|"]
    rows += [_row(name, info) for name, info in model.model_fields.items()]
    return "\n".join(rows) + "\n"


def _row(name: str, info: FieldInfo) -> str:
    default = (
        "required" if info.is_required() else f"`{info.get_default(call_default_factory=True)!r}`"
    )
    allowed = ", ".join(_constraint(item) for item in info.metadata if _constraint(item))
    cells = (f"`{name}`", _type_name(info.annotation), allowed, default, info.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _type_name(annotation: object) -> str:
    """A type as one would write it; what goes with it (checks, encoders) is left out."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type_name(inner[0])
    if origin is typing.Literal:
        return ", ".join(map(repr, inner))
    if origin is np.ndarray:
        return f"{typing.get_args(inner[1])[0].__name__} array"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_type_name, inner))
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(_type_name, inner))}]"
    if annotation in (None, type(None)):
        return "None"
    return "…" if annotation is Ellipsis else getattr(annotation, "__name__", str(annotation))


def _constraint(item: object) -> str:
    if isinstance(item, contract.Offers):
        return f"ours: {', '.join(map(repr, item.values))}"
    signs = {
        "ge": "≥",
        "gt": ">",
        "le": "≤",
        "lt": "<",
        "min_length": "length ≥",
        "pattern": "matches",
    }
    found = [
        f"{sign} {getattr(item, name)}"
        for name, sign in signs.items()
        if getattr(item, name, None) is not None
    ]
    return ", ".join(found)


def _port(port: type) -> str:
    lines = [f"### `{port.__name__}` ({Path(inspect.getfile(port)).name})\n"]
    lines.append(inspect.cleandoc(port.__doc__ or "") + "\n")
    for name, method in vars(port).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            parameters = ", ".join(list(inspect.signature(method).parameters)[1:])
            lines.append(f"`{name}({parameters})`: {inspect.cleandoc(method.__doc__ or '')}\n")
    return "\n".join(lines)


def main() -> int:
    """Write the page, or with --check say whether it is what the models say."""
    path = ROOT / "docs" / "contracts.md"
    text = page()
    if "--check" not in sys.argv:
        path.write_text(text, encoding="utf-8")
    elif not path.exists() or path.read_text(encoding="utf-8") != text:
        print("docs/contracts.md is out of date; run: python docs/generate.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
