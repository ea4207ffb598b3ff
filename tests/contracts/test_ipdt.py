"""IPDT: a prepared set, its files, and how it travels."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from interfaces.contract import SCHEMA_VERSION
from interfaces.errors import AtelierError, DamagedError
from interfaces.ipdt import IPDT, PreprocessingSettings
from tests.helpers import digest, tiny_prepared

Component = Callable[[str], Any]


def make(**changes: Any) -> IPDT:
    fields: dict[str, Any] = {
        "directory": Path("prepared"),
        "name": "test",
        "num_images": 3,
        "resolution": 64,
        "styles": ("dunes", "waves"),
        "source_digest": digest("collection"),
        "digest": digest("prepared"),
    }
    return IPDT(**(fields | changes))


# The message


@pytest.mark.parametrize(
    "change",
    [
        {"directory": None},
        {"name": ""},
        {"num_images": 0},
        {"num_images": 1.5},
        {"resolution": 7},
        {"resolution": 1025},
        {"resolution": "large"},
        {"styles": ()},
        {"styles": (1, 2)},
        {"transform": ""},
        {"source_digest": "0" * 63},
        {"source_digest": "g" * 64},
        {"digest": None},
        {"schema_version": SCHEMA_VERSION + 1},
        {"colour": "blue"},
    ],
    ids=str,
)
def test_what_breaks_a_constraint_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make(**change)


def test_every_field_is_described_and_frozen() -> None:
    for model in (IPDT, PreprocessingSettings):
        assert all(field.description for field in model.model_fields.values())
    with pytest.raises(ValidationError, match="frozen"):
        make().resolution = 32


@pytest.mark.parametrize("fields", [{"resolution": 4}, {"resolution": 2000}, {"crop": "none"}])
def test_settings_have_constraints_too(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PreprocessingSettings(**fields)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    name=TEXT.filter(bool),
    num_images=st.integers(1, 2**40),
    resolution=st.integers(8, 1024),
    styles=st.lists(TEXT, min_size=1, max_size=5),
)
def test_json_and_bytes_round_trips(
    name: str, num_images: int, resolution: int, styles: list[str]
) -> None:
    message = make(name=name, num_images=num_images, resolution=resolution, styles=tuple(styles))
    assert IPDT.from_json(message.to_json()) == message
    assert IPDT.from_bytes(message.to_bytes()) == message


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff" * 40, make().to_bytes()[:-1]])
def test_what_is_no_message_is_refused_in_one_line(data: bytes) -> None:
    for read in (IPDT.from_json, IPDT.from_bytes):
        with pytest.raises(AtelierError) as error:
            read(data)
        assert "\n" not in str(error.value)


def test_arrays_that_do_not_fit_the_message_are_refused(tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path)
    for change in ({"num_images": 31}, {"resolution": 17}):
        with pytest.raises(AtelierError, match="prepare again"):
            prepared.model_copy(update=change).images()
    with pytest.raises(AtelierError, match="names no style"):
        prepared.model_copy(update={"styles": ("one",)}).labels()
    (tmp_path / "labels.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(AtelierError, match="prepare again"):
        prepared.labels()
    np.save(tmp_path / "images.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(AtelierError, match="not a readable array"):
        prepared.images()  # a pickle in it is never run


@given(
    name=st.sampled_from(["images.npy", "labels.npy"]),
    header=st.sampled_from(
        [
            "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000000000, 16, 16, 3)}",
            "{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000000,)}",
            "{'descr': '<i8', 'fortran_order': False, 'shape': (-1,)}",
            "{'descr': '|O', 'fortran_order': False, 'shape': (32,)}",
            "(" * 5000,
            "-" * 9000 + "1",
            "[" * 9000 + "]" * 9000,
            "{'descr': [[[]]], 'fortran_order': 0, 'shape': ''}",
        ]
    )
    | TEXT,
)
def test_an_array_file_that_lies_is_refused(name: str, header: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        prepared = tiny_prepared(Path(folder))
        text = header.encode()
        lie = b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text
        (prepared.directory / name).write_bytes(lie)
        with pytest.raises(DamagedError, match="prepare again"):
            prepared.images()
            prepared.labels()
