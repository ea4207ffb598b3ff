"""Messages of another version: `interfaces.contract` has the rule."""

import base64
import json
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from interfaces.contract import Contract
from interfaces.errors import DamagedError, RefusedError
from interfaces.ics import ICS
from interfaces.iedt import IEDT
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.iodt import IODT
from interfaces.ipdt import IPDT
from interfaces.itdt import ITDT
from interfaces.record import Record

NINE: tuple[type[Contract], ...] = (ITDT, IPDT, IGME, IGDT, IEDT, IODT, IGS, IES, ICS)

OLD: dict[str, dict[str, str]] = json.loads(
    Path(__file__).with_name("messages_of_version_1.json").read_text(encoding="utf-8")
)
"""All nine as version 0.2 wrote them: the first to carry `schema_version` 1."""


@pytest.mark.parametrize("kind", NINE)
def test_an_older_message_is_read(kind: type[Contract]) -> None:
    old = OLD[kind.__name__]
    message = kind.from_json(old["json"])
    assert kind.from_bytes(base64.b64decode(old["bytes"])) == message
    assert kind.from_bytes(message.to_bytes()) == message


@pytest.mark.parametrize("kind", NINE)
def test_a_message_that_says_nothing_new_is_written_as_before(kind: type[Contract]) -> None:
    """So an older reader understands it: what was added since is left out."""
    old = OLD[kind.__name__]["json"]
    assert kind.from_json(old).to_json() == old


def test_what_an_older_record_does_not_say_has_always_been_so() -> None:
    fields = json.loads(OLD["IODT"]["json"])["record"]
    for name in ("drift", "source"):
        del fields[name]
    for name in ("is_fallback", "denoise", "twin_sha256", "route"):
        del fields["enhancement"][name]
    record = Record.model_validate(fields)
    assert (record.drift, record.source, record.enhancement.denoise) == (None, None, 1.0)


def test_an_older_model_is_still_known_by_its_digest() -> None:
    model = IGME.from_json(OLD["IGME"]["json"])
    assert model.digest != OLD["IGME"]["digest"]
    assert model.is_known_as(OLD["IGME"]["digest"])


# ---------------------------------------------------------------- newer ones


class Later(ICS):
    """ICS as a later version might have it, with a field more."""

    effort: int | None = Field(default=None, exclude_if=lambda value: value is None)


def test_a_newer_message_that_says_nothing_new_is_read() -> None:
    message = Later(format="webp", quality=50)
    assert ICS.from_json(message.to_json()) == ICS(format="webp", quality=50)


def test_a_newer_message_that_says_something_new_is_refused_with_advice() -> None:
    with pytest.raises(RefusedError, match=r"effort.*update Atelier"):
        ICS.from_json(Later(effort=3).to_json())


@pytest.mark.parametrize("kind", NINE)
def test_a_message_of_a_newer_version_is_refused_with_advice(kind: type[Contract]) -> None:
    fields = json.loads(OLD[kind.__name__]["json"])
    newer = json.dumps(fields | {"schema_version": 2, "hue": 1})
    with pytest.raises(RefusedError, match=r"schema_version.*update Atelier"):
        kind.from_json(newer)


def test_a_newer_way_of_writing_bytes_is_refused_with_advice() -> None:
    newer = ICS().to_bytes().replace(b'"layout":"2"', b'"layout":"3"')
    with pytest.raises(RefusedError, match=r"layout 3.*update Atelier"):
        ICS.from_bytes(newer)


@pytest.mark.parametrize("version", [0, -1, "one", None, 1.5, [1]])
def test_a_version_that_never_was_is_damage(version: object) -> None:
    with pytest.raises(DamagedError, match="schema_version"):
        ICS.from_json(json.dumps({"schema_version": version}))


def test_a_newer_model_says_so(tmp_path: Path) -> None:
    fields = json.loads(OLD["IGME"]["json"]) | {"schema_version": 2}
    (tmp_path / "model.json").write_text(json.dumps(fields))
    with pytest.raises(RefusedError, match=r"model\.json.*update Atelier"):
        IGME.open(tmp_path)


# ---------------------------------------------------------------- schemas


def _names(schema: dict[str, Any]) -> set[str]:
    return set(schema["properties"])


@pytest.mark.parametrize("mode", ["validation", "serialization"])
@pytest.mark.parametrize("kind", NINE)
def test_every_contract_has_a_schema(
    kind: type[Contract], mode: Literal["validation", "serialization"]
) -> None:
    schema = kind.model_json_schema(mode=mode)
    assert _names(schema) == set(kind.model_fields)
    assert all("description" in field for field in schema["properties"].values())
    json.dumps(schema)


def test_the_schema_says_how_arrays_and_bytes_are_written() -> None:
    images = IGDT.model_json_schema()["properties"]["images"]
    written = json.loads(OLD["IGDT"]["json"])["images"]
    assert _names(images) == set(written)
    assert images["properties"]["dtype"]["const"] == written["dtype"]
    assert IODT.model_json_schema()["properties"]["data"]["contentEncoding"] == "base64"
