"""ITDT: an inspected collection, and how it travels."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from interfaces.contract import SCHEMA_VERSION
from interfaces.errors import AtelierError
from interfaces.itdt import (
    ITDT,
    Duplicate,
    QuarantinedFile,
    TrainingImage,
)
from tests.helpers import digest

Component = Callable[[str], Any]


def make(**changes: Any) -> ITDT:
    fields: dict[str, Any] = {
        "name": "test",
        "source": "~/paintings",
        "manifest": Path("manifest"),
        "num_images": 3,
        "images_per_style": {"dunes": 1, "waves": 2},
        "num_quarantined": 1,
        "num_exact_duplicates": 1,
        "num_near_duplicates": 0,
        "digest": digest("collection"),
    }
    return ITDT(**(fields | changes))


def make_image(**changes: Any) -> TrainingImage:
    fields: dict[str, Any] = {
        "name": "waves/a.png",
        "file": Path("a.png"),
        "length": 10,
        "style": "waves",
        "width": 64,
        "height": 48,
        "mode": "RGB",
        "sha256": digest("a"),
    }
    return TrainingImage(**(fields | changes))


# The message


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": None},
        {"source": 3},
        {"manifest": None},
        {"num_images": 0},
        {"num_images": 4},
        {"num_images": 3.5},
        {"images_per_style": {}},
        {"images_per_style": {"waves": 2, "dunes": 1}},
        {"images_per_style": {"dunes": 1, "waves": 1}},
        {"images_per_style": ["dunes"]},
        {"num_quarantined": -1},
        {"num_exact_duplicates": -1},
        {"num_near_duplicates": "many"},
        {"digest": ""},
        {"digest": digest("collection").upper()},
        {"digest": digest("collection") + "\n"},
        {"digest": digest("collection")[:-1]},
        {"schema_version": SCHEMA_VERSION + 1},
        {"colour": "blue"},
    ],
    ids=str,
)
def test_what_breaks_a_constraint_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make(**change)


def test_every_field_is_described_and_frozen() -> None:
    assert all(field.description for field in ITDT.model_fields.values())
    with pytest.raises(ValidationError, match="frozen"):
        make().num_images = 4


@pytest.mark.parametrize(
    "change",
    [
        {"offset": -1},
        {"length": 0},
        {"compression": "lzma"},
        {"encoding": "raw"},
        {"width": 0},
        {"height": 0},
        {"sha256": "abc"},
        {"extra": 1},
    ],
    ids=str,
)
def test_lines_of_images_have_constraints_too(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make_image(**change)


def test_faults_and_duplicates_have_constraints_too() -> None:
    with pytest.raises(ValidationError):
        QuarantinedFile(name="a", reason="ugly", detail="")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValidationError):
        Duplicate(name="a", of="b", kind="near", distance=65)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    name=TEXT.filter(bool),
    source=TEXT,
    styles=st.dictionaries(TEXT, st.integers(0, 2**40), min_size=1, max_size=5),
    others=st.tuples(*[st.integers(0, 2**40)] * 3),
)
def test_json_and_bytes_round_trips(
    name: str, source: str, styles: dict[str, int], others: tuple[int, int, int]
) -> None:
    styles["more"] = styles.get("more", 0) + 1
    message = make(
        name=name,
        source=source,
        num_images=sum(styles.values()),
        images_per_style=dict(sorted(styles.items())),
        num_quarantined=others[0],
        num_exact_duplicates=others[1],
        num_near_duplicates=others[2],
    )
    assert ITDT.from_json(message.to_json()) == message
    assert ITDT.from_bytes(message.to_bytes()) == message
    assert message.styles == tuple(sorted(styles))


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff" * 40, make().to_bytes()[:-1]])
def test_what_is_no_message_is_refused_in_one_line(data: bytes) -> None:
    for read in (ITDT.from_json, ITDT.from_bytes):
        with pytest.raises(AtelierError) as error:
            read(data)
        assert "\n" not in str(error.value)


def test_a_missing_or_broken_manifest_is_refused(tmp_path: Path) -> None:
    message = make(manifest=tmp_path)
    with pytest.raises(AtelierError, match="inspect again"):
        list(message.images())
    (tmp_path / "images.jsonl").write_text(make_image().model_dump_json() + "\n{torn")
    lines = message.images()
    assert next(lines) == make_image()
    with pytest.raises(AtelierError, match="inspect again"):
        next(lines)


@given(body=st.binary(min_size=1, max_size=200), before=st.binary(max_size=20))
def test_an_image_is_a_range_of_bytes(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, before: bytes
) -> None:
    path = tmp_path_factory.mktemp("range") / "file"
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(body) + packer.flush()
    path.write_bytes(before + body + packed + b"after")
    plain = make_image(file=path, offset=len(before), length=len(body))
    deflated = make_image(
        file=path, offset=len(before) + len(body), length=len(packed), compression="deflate"
    )
    assert plain.read_bytes() == deflated.read_bytes() == body


def test_bytes_that_are_gone_are_an_error_for_a_person(tmp_path: Path) -> None:
    with pytest.raises(AtelierError, match="cannot read"):
        make_image(file=tmp_path / "gone").read_bytes()
