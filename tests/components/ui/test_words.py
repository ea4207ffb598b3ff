"""Every text that the page shows has its translation; none is kept that nothing says any more."""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from atelier.handlers import HANDLERS
from atelier.server.answers import ResultSearch
from components.families import FAMILIES
from settings import SECTIONS
from tests.helpers import REPOSITORY

PAGE = REPOSITORY / "components" / "ui" / "page"
SCRIPTS = {
    path.name: path.read_text(encoding="utf-8")
    for path in sorted(PAGE.glob("*.js"))
    if path.name != "preact-htm.js"
}
TABLES = [
    "KINDS",
    "STATES",
    "PARTS",
    "WITHIN",
    "ORIGINS",
    "OWN",
    "LISTED",
    "MAKERS",
    "FILES",
    "SOURCES",
    "USES",
    "PRESETS",
]
ANSWERING = ("atelier/server", "atelier/jobs", "atelier/handlers", "atelier/gallery")
SETTINGS = ("interfaces/orders.py", "interfaces/igs.py")
"""Files that word what the server tells a person on the page."""
TERMINAL = re.compile(r"--|\{\}:\{\}: cannot listen there")
"""Begins what only whoever starts the server reads."""


def catalogue(name: str) -> dict[str, Any]:
    return json.loads((PAGE / f"{name}.json").read_text(encoding="utf-8"))


def words_of_scripts() -> set[str]:
    """Every text that a script may show by `t`."""
    code = "".join(SCRIPTS.values())
    tables = [re.findall(rf"const {name} = \{{(.*?)\}};", code, re.S) for name in TABLES]
    assert all(tables)
    found = {
        word
        for one in tables
        for table in one
        for word in re.findall(r'[\[:] ?"([A-Z][^"]+)"', table)
    }
    return found | set(re.findall(r'\bt\(\s*"((?:[^"\\]|\\.)*)"', code))


def label(name: str) -> str:
    words = name.replace("_", " ").lower()
    return words[:1].upper() + words[1:]


def words_of_form(model: type[BaseModel]) -> Iterator[str]:
    """Labels, help and choices of all that a form asks for."""
    schema = model.model_json_schema()
    for name, field in schema.get("properties", {}).items():
        if "const" not in field:
            yield label(field.get("title", name))
            yield from [field["description"]] if "description" in field else []
            yield from choices_of(field)


def choices_of(field: Any) -> Iterator[str]:
    if isinstance(field, Mapping):
        yield from (one for one in field.get("enum", ()) if isinstance(one, str))
        for inner in field.values():
            yield from choices_of(inner)
    elif isinstance(field, list):
        for inner in field:
            yield from choices_of(inner)


def words_of_forms() -> set[str]:
    found = {word for model in (*SECTIONS.values(), ResultSearch) for word in words_of_form(model)}
    for family in FAMILIES.values():
        found.add(family.description)
        found |= {*words_of_form(family.options), *words_of_form(family.config)}
    return found


def sources() -> Iterator[Path]:
    for package in ("atelier", "components", "interfaces"):
        files = (REPOSITORY / package).rglob("*.py")
        yield from (path for path in files if "contracts" not in path.parts)


def words_of_progress() -> set[str]:
    """Names of the steps of a job and of their units."""
    found: set[str] = set()
    for path in sources():
        code = path.read_text(encoding="utf-8")
        found |= {label(stage) for stage in re.findall(r'\bstage="([^"]+)"', code)}
        found |= set(re.findall(r'\bunit="([^"]+)"', code))
    return found


def said(node: ast.expr) -> str | None:
    """A text as the code has it, with {} for each value that is put in; None for no text."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(said(part) or "{}" for part in parts)
        case _:
            return None


def lines_of(path: Path) -> set[str]:
    """The lines that a file's errors may tell, and its texts that stand alone."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and _is_told(node.func):
            texts = [line for one in node.args if (line := said(one)) is not None]
            found |= {line for line in texts if _is_prose(line) and not TERMINAL.match(line)}
    return found


def _is_prose(line: str) -> bool:
    return bool(re.search(r"[a-z]{2,} ", line))


def _is_told(function: ast.expr) -> bool:
    name = getattr(function, "id", getattr(function, "attr", ""))
    return name.endswith("Error") or name in ("HTTPException", "_failure", "warn")


def texts_of(path: Path) -> set[str]:
    """Every text of a file, whatever it is for."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {line for node in ast.walk(tree) if isinstance(node, ast.expr) and (line := said(node))}


def gaps_emptied(line: str) -> str:
    return re.sub(r"\{\w+\}", "{}", line)


def test_every_kind_of_order_has_a_name() -> None:
    (table,) = re.findall(r"const KINDS = \{(.*?)\};", SCRIPTS["pictures.js"], re.S)
    kinds = {order.model_fields["kind"].annotation for order in HANDLERS}
    assert set(re.findall(r"(\w+):", table)) == {name for one in kinds for name in get_args(one)}


def test_all_is_said_in_ukrainian_too() -> None:
    known = catalogue("uk")
    shown = words_of_scripts() | words_of_forms() | words_of_progress()
    assert sorted(word for word in shown - set(known) if word) == []
    forms = [value for value in known.values() if isinstance(value, dict)]
    assert forms and all(set(form) == {"one", "few", "many", "other"} for form in forms)


def test_what_the_server_tells_is_said_in_ukrainian_too() -> None:
    known = {gaps_emptied(line) for line in catalogue("uk-server")}
    files = [path for folder in ANSWERING for path in (REPOSITORY / folder).rglob("*.py")]
    files += [REPOSITORY / name for name in SETTINGS]
    told = {line for path in files for line in lines_of(path)}
    assert len(told) > 50
    assert sorted(told - known) == []


def test_no_line_is_translated_that_nothing_says() -> None:
    there = {gaps_emptied(text) for path in sources() for text in texts_of(path)}
    beginnings = tuple(text for text in there if len(text) > 8)  # some lines are put together
    assert [
        line for line in catalogue("uk-server") if not gaps_emptied(line).startswith(beginnings)
    ] == []


@pytest.mark.parametrize("name", ["en", "uk", "uk-server"])
def test_a_translation_keeps_what_is_put_in(name: str) -> None:
    for text, translated in catalogue(name).items():
        for one in translated.values() if isinstance(translated, dict) else [translated]:
            assert set(re.findall(r"\{\w+\}", one)) == set(re.findall(r"\{\w+\}", text)), text


@pytest.mark.parametrize(
    "bare",
    [
        r">([^<>${}`=]*[A-Za-z]{2,}[^<>${}`=;()]*)</",
        r'(?:aria-label|placeholder|title|alt)(?:=|"?: )"([^"]*[a-z]{2}[^"]*)"',
        r'h\("\w+", \{[^{}]*\}, "([^"]*[A-Za-z]{2}[^"]*)"',
        r'textContent = "([^"]*[A-Za-z]{2}[^"]*)"',
    ],
)
def test_no_script_shows_a_text_past_the_catalogue(bare: str) -> None:
    """Texts of elements and attributes are `t("…")`; the product's name is the same everywhere."""
    code = "\n".join(re.sub(r"(?m)^\s*//.*|/\*.*?\*/", "", code) for code in SCRIPTS.values())
    assert set(re.findall(bare, code)) <= {"Atelier"}
