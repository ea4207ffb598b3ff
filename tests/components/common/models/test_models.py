"""A model's folder that can be passed on: card, bill, manifest, signature."""

import json
from datetime import datetime, tzinfo
from importlib.metadata import version
from pathlib import Path
from typing import Self

import pytest
import yaml

from atelier.commands.models import SOME_CHANGED, verify_model
from components.common.credentials.making import make
from components.common.credentials.places import Files
from components.common.durable import sha256_of
from components.common.models import Manifest, check_model, complete_model
from interfaces.igme import IGME
from interfaces.itdt import Rights


@pytest.fixture
def model(tmp_path: Path) -> IGME:
    """A folder with a description and a file that stands for weights."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"weights")
    model = IGME(
        directory=folder,
        family="dcgan",
        config={},
        weights_sha256=sha256_of(folder / "weights.safetensors"),
        resolution=64,
        styles=("day", "night"),
        dataset_name="pictures",
        dataset_digest="ab" * 32,
        images_seen=1000,
        style_counts=(3, 4),
    )
    complete_model(model)
    return model


def test_a_folder_as_it_was_signed(model: IGME) -> None:
    seal = check_model(IGME.open(model.directory))
    assert (seal.state, seal.signer, seal.is_yours) == ("intact", "Test", True)
    assert seal.model_digest == model.digest
    written = Manifest.model_validate_json((model.directory / "manifest.json").read_bytes())
    assert set(written.files) == {"README.md", "bom.json", "model.json", "weights.safetensors"}
    assert written.model_digest == model.digest


@pytest.mark.parametrize(
    "name", ["README.md", "bom.json", "weights.safetensors", "manifest.json", "manifest.sig.json"]
)
def test_any_changed_file_shows(model: IGME, name: str) -> None:
    path = model.directory / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    seal = check_model(model)
    assert seal.state == "changed"
    assert seal.problem


def test_a_missing_and_an_added_file_show(model: IGME) -> None:
    (model.directory / "added.txt").write_text("more")
    assert "added.txt: was added" in (check_model(model).problem or "")
    (model.directory / "added.txt").unlink()
    (model.directory / "bom.json").unlink()
    assert "bom.json: is missing" in (check_model(model).problem or "")


def test_another_description_shows(model: IGME) -> None:
    other = model.model_copy(update={"dataset_name": "another"})
    assert "describes another model" in (check_model(other).problem or "")


def test_a_folder_without_a_signature_is_unsigned(model: IGME) -> None:
    (model.directory / "manifest.sig.json").unlink()
    assert check_model(model).state == "unsigned"


def test_another_persons_signature_is_not_yours(
    model: IGME, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(Files(tmp_path / "other"), "Other")
    monkeypatch.setenv("ATELIER_CREDENTIALS", str(tmp_path / "other"))
    seal = check_model(model)
    assert (seal.state, seal.signer, seal.is_yours) == ("intact", "Test", False)
    assert "unknown key" in seal.line()


def test_an_expired_certificate_is_no_change(model: IGME, monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls(2100, 1, 1, tzinfo=tz)

    monkeypatch.setattr("components.common.models.folder.datetime", Later)
    seal = check_model(model)
    assert (seal.state, seal.signer) == ("intact", "Test")
    assert "signed with your key (the certificate is not valid at this time)" in seal.line()
    (model.directory / "README.md").write_text("changed")
    assert check_model(model).state == "changed"


def test_a_certificate_that_cannot_sign_leaves_the_model_unsigned(
    model: IGME,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    make(Files(tmp_path / "locked"), "Other", "passphrase")
    monkeypatch.setenv("ATELIER_CREDENTIALS", str(tmp_path / "locked"))
    complete_model(model)
    assert check_model(model).state == "unsigned"
    assert "the model is not signed" in caplog.text


@pytest.mark.parametrize("num_written", range(5))
def test_a_folder_that_was_not_finished_is_no_model(
    model: IGME, num_written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Completing ends after so many files, as a killed process does: the rest is written anew."""
    (model.directory / "model.json").unlink()
    written: list[Path] = []

    def write(path: Path, text: str) -> None:
        if len(written) == num_written:
            raise KeyboardInterrupt
        written.append(path)
        path.write_text(text)

    with monkeypatch.context() as cut, pytest.raises(KeyboardInterrupt):
        cut.setattr("components.common.models.folder.write_text", write)
        complete_model(model)
    assert not (model.directory / "model.json").exists()
    complete_model(model)
    assert check_model(IGME.open(model.directory)).state == "intact"


def test_the_card_reads_as_hubs_read_it(model: IGME) -> None:
    _, front, body = (model.directory / "README.md").read_text().split("---\n", 2)
    matter = yaml.safe_load(front)
    assert matter["pipeline_tag"] == "unconditional-image-generation"
    assert model.family in matter["tags"]
    assert f"Digest: `{model.digest}`" in body


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        (None, "No picture of the collection said"),
        (Rights(num_reserved=10, decision="left out"), "10 pictures .* They were left out"),
        (Rights(num_reserved=10, decision="taken"), "10 pictures .* They were used all the same"),
    ],
)
def test_the_card_says_what_became_of_reserved_pictures(
    model: IGME, rights: Rights | None, words: str
) -> None:
    complete_model(model.model_copy(update={"rights": rights}))
    text = " ".join((model.directory / "README.md").read_text().replace("**", "").split())
    first, _, last = words.partition(" .* ")
    assert first in text
    assert last in text


def test_the_bill_names_what_was_installed(model: IGME) -> None:
    bill = json.loads((model.directory / "bom.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    found = {one["name"].lower(): one["version"] for one in bill["components"]}
    assert found["numpy"] == version("numpy")
    assert found["torch"] == version("torch")
    named = {one["bom-ref"] for one in bill["components"]}
    assert set(bill["dependencies"][0]["dependsOn"]) == named
    assert bill["metadata"]["component"]["hashes"][0]["content"] == model.weights_sha256


def test_the_command_answers_and_its_exit_code_tells(
    model: IGME, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify_model(str(model.directory)) == 0
    assert "intact, signed with your key" in capsys.readouterr().out
    (model.directory / "bom.json").unlink()
    assert verify_model(str(model.directory)) == SOME_CHANGED
    path = model.directory / "bom.json"
    assert capsys.readouterr().out.startswith(f"{model.directory}: changed ({path}: is missing)")
