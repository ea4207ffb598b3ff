"""IGME: the message, and the model's folder."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from interfaces.errors import DamagedError, NotFoundError
from interfaces.igme import IGME, TrainingSettings
from tests.helpers import digest

FIELDS = {
    "directory": Path("model"),
    "family": "dcgan",
    "config": {"latent_dim": 100},
    "weights_sha256": digest("weights"),
    "resolution": 64,
    "styles": ("baroque", "ukiyo-e"),
    "dataset_name": "paintings",
    "dataset_digest": digest("prepared"),
    "images_seen": 1000,
    "metrics": {"generator_loss": 1.5},
}


def message(**changes: object) -> IGME:
    return IGME.model_validate(FIELDS | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"family": ""},
        {"weights_sha256": "abc"},
        {"weights_sha256": digest("x").upper()},
        {"resolution": 4},
        {"resolution": 64.5},
        {"images_seen": -1},
        {"metrics": {"generator_loss": float("nan")}},
        {"metrics": {"generator_loss": float("inf")}},
        {"schema_version": 2},
        {"unknown": 1},
    ],
)
def test_nonsense_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        message(**changes)


def test_it_is_frozen() -> None:
    with pytest.raises(ValidationError):
        message().family = "other"


def test_json_and_bytes_bring_it_back() -> None:
    assert IGME.from_json(message().to_json()) == message()
    assert IGME.from_bytes(message().to_bytes()) == message()


@pytest.mark.parametrize(
    "changes",
    [
        {"family": "x"},
        {"config": {}},
        {"weights_sha256": digest("other")},
        {"resolution": 32},
        {"styles": ("baroque", "rococo")},
        {"styles": ("ukiyo-e", "baroque")},
        {"dataset_name": "somebody else's"},
        {"dataset_digest": None},
        {"neighbours_sha256": digest("other neighbours")},
    ],
)
def test_what_a_record_says_of_a_model_is_in_its_digest(changes: dict[str, object]) -> None:
    assert message(**changes).digest != message().digest


def test_the_digest_stays_where_records_say_the_same() -> None:
    same = {"directory": Path("elsewhere"), "metrics": {}, "images_seen": 5, "companions": {}}
    assert message(**same).digest == message().digest


def test_a_model_is_still_known_by_the_digest_that_earlier_versions_gave_it() -> None:
    old = "eecf867ccf503c45a4407ea6b8b95f0058c64d37848719db267c7992af803fa0"
    assert message().digests == (message().digest, old)
    assert message().is_known_as(old)
    assert message().is_known_as(message().digest)
    assert not message().is_known_as(None)
    assert not message().is_known_as(message(family="x").digest)


deep = '{"config": ' + 100_000 * "["


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"family": 3}', "\0", deep])
def test_a_damaged_folder_is_one_clear_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(DamagedError, match=r"model\.json") as caught:
        IGME.open(tmp_path)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=99))
def test_any_bytes_are_a_model_or_damage(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.json").write_bytes(content)
        with pytest.raises(DamagedError):
            IGME.open(Path(folder))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of POSIX systems")
def test_a_model_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.json")
    with pytest.raises(DamagedError, match="not a file"):
        IGME.open(tmp_path)
    with pytest.raises(DamagedError, match="not a file"):
        (tmp_path / "folder" / "model.json").mkdir(parents=True)
        IGME.open(tmp_path / "folder")


def test_an_empty_folder_says_that_a_model_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"model\.json is missing"):
        IGME.open(tmp_path)


def test_a_moved_model_is_where_it_was_opened(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(message(neighbours_sha256=digest("n")).manifest())
    opened = IGME.open(tmp_path)
    assert opened.directory == tmp_path
    assert opened.digest == message(neighbours_sha256=digest("n")).digest


@pytest.mark.parametrize(
    "name", ["../../x", "a/b", "a\\b", "", "..", "/etc/passwd", "C:x", "weights", "Neighbours"]
)
def test_a_companion_leads_to_no_other_file(name: str) -> None:
    with pytest.raises(ValidationError, match="companions"):
        message(companions={name: digest("x")})
    with pytest.raises(NotFoundError, match="was trained beside"):
        message().companion_path(name)


def test_a_companion_lies_in_the_models_folder() -> None:
    model = message(companions={"discriminator": digest("x")})
    assert model.companion_path("discriminator") == Path("model/discriminator.safetensors")


def test_training_needs_an_end() -> None:
    with pytest.raises(ValidationError, match="budget"):
        TrainingSettings()
