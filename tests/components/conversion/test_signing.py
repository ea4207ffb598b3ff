"""Every file that conversion writes is signed, and says of itself what is true."""

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest
from PIL import Image

from atelier.contracts.samples import make_enhancement, make_file_origin, make_iedt
from components.common.credentials.places import credential_files
from components.common.credentials.reading import Credentials, read_credentials
from components.conversion import (
    ImageConverter,
    animate,
    public_copy,
    read_picture,
    record_inside,
    strip,
)
from interfaces.errors import RefusedError
from interfaces.ics import ICS
from interfaces.iedt import IEDT
from interfaces.iodt import IODT
from interfaces.record import InputRecord

FORMATS = ("png", "jpeg", "webp", "avif", "tiff")


def convert(batch: IEDT, **chosen: Any) -> IODT:
    (result,) = ImageConverter().convert([batch], ICS(**chosen))
    return result


def opened(image: IODT, folder: Path, scale: int = 1) -> IEDT:
    """The picture as a person's own file that comes in again."""
    path = folder / f"in{image.suffix}"
    path.write_bytes(image.data)
    return IEDT(**dict(read_picture(path)), enhancement=make_enhancement(scale))


def found(image: IODT) -> Credentials:
    credentials = read_credentials(image.data, image.media_type)
    assert credentials is not None
    return credentials


def validated(data: bytes, media_type: str) -> dict[str, Any]:
    """The report of c2pa's own reader, with the person's authority on its trust list."""
    anchors = credential_files().authority.read_text()
    settings = c2pa.Settings.from_dict({"trust": {"user_anchors": anchors}})
    with c2pa.Reader(media_type, io.BytesIO(data), context=c2pa.Context(settings)) as reader:
        return json.loads(reader.json())


@pytest.mark.parametrize("name", FORMATS)
def test_a_validator_finds_a_generated_picture_sound(name: str) -> None:
    image = convert(make_iedt(1, 48), format=name)
    report = validated(image.data, image.media_type)
    assert report["validation_state"] == "Trusted"
    manifest = report["manifests"][report["active_manifest"]]
    told = {one["label"]: one["data"] for one in manifest["assertions"]}
    created, *_ = told["c2pa.actions.v2"]["actions"]
    assert created["action"] == "c2pa.created"
    assert created["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    origin = image.record.origin
    assert origin.kind == "generated"
    assert told["atelier.picture"]["model_digest"] == origin.model_digest
    assert told["atelier.picture"]["seed"] == origin.seed
    assert told["atelier.picture"]["dataset_digest"] == origin.dataset_digest


@pytest.mark.parametrize("name", FORMATS)
def test_signing_changes_no_pixel_and_no_record(name: str) -> None:
    batch = make_iedt(1, 48)
    signed, plain = convert(batch, format=name), convert(batch, format=name, sign=False)
    shown = [np.asarray(Image.open(io.BytesIO(one.data))) for one in (signed, plain)]
    np.testing.assert_array_equal(*shown)
    assert record_inside(signed.data).origin == record_inside(plain.data).origin
    assert read_credentials(plain.data, plain.media_type) is None


@pytest.mark.parametrize("name", FORMATS)
def test_a_changed_byte_of_the_picture_shows(name: str) -> None:
    data = bytearray(convert(make_iedt(1, 48), format=name).data)
    plain = convert(make_iedt(1, 48), format=name, sign=False).data
    # The last bytes of the pixels lie in both files, wherever the credentials were put.
    place = bytes(data).rfind(plain[-40:-20] if name != "png" else plain[-60:-40])
    assert place > 0
    data[place] ^= 1
    changed = read_credentials(bytes(data), f"image/{name}")
    assert changed is not None
    assert not changed.is_intact
    assert changed.problems


@pytest.mark.parametrize("name", FORMATS)
def test_an_input_with_credentials_stays_an_ingredient(name: str, tmp_path: Path) -> None:
    first = convert(make_iedt(1, 48), format=name)
    for target in FORMATS:
        second = found(convert(opened(first, tmp_path), format=target))
        assert second.is_intact
        assert [one.action for one in second.actions] == ["c2pa.opened", "c2pa.transcoded"]
        (parent,) = second.ingredients
        assert (parent.relationship, parent.is_signed) == ("parentOf", True)
        assert "trainedAlgorithmicMedia" in parent.source_types
        assert parent.problems == ()


def test_an_input_that_was_changed_is_said_to_be(tmp_path: Path) -> None:
    first = convert(make_iedt(1, 48), format="png")
    data = bytearray(first.data)
    data[bytes(data).index(b"AISystemUsed>Atelier") + 13] ^= 1  # in its XMP
    path = tmp_path / "changed.png"
    path.write_bytes(_with_checksums(bytes(data)))
    batch = IEDT(**dict(read_picture(path)), enhancement=make_enhancement(1))
    (parent,) = found(convert(batch)).ingredients
    assert parent.is_signed
    assert "assertion.dataHash.mismatch" in parent.problems


def test_a_persons_unsigned_file_is_opened_and_edited() -> None:
    batch = make_iedt(1, 16).model_copy(update={"origins": (make_file_origin(),)})
    credentials = found(convert(batch))
    assert credentials.is_intact
    assert [one.action for one in credentials.actions] == [
        *("c2pa.opened", "c2pa.resized", "c2pa.transcoded")
    ]
    (parent,) = credentials.ingredients
    assert (parent.name, parent.is_signed) == (None, False)


def test_files_that_a_model_took_in_are_inputs() -> None:
    batch = make_iedt(1, 16)
    given = InputRecord(role="sketch", name="lines.png", sha256="ab" * 32)
    origin = batch.origins[0].model_copy(update={"inputs": (given,)})
    credentials = found(convert(batch.model_copy(update={"origins": (origin,)})))
    assert credentials.is_intact
    assert credentials.actions[0].action == "c2pa.created"
    assert [(one.is_signed, one.relationship) for one in credentials.ingredients] == [
        (False, "inputTo")
    ]


def test_training_is_forbidden_where_asked() -> None:
    image = convert(make_iedt(1, 16), forbid_training=True)
    assert set(found(image).training.values()) == {"notAllowed"}
    assert "ai_generative_training" in found(image).training
    assert b"DMI-PROHIBITED" in image.data
    assert found(convert(make_iedt(1, 16))).training == {}


@pytest.mark.parametrize("name", FORMATS)
def test_for_publishing_nothing_private_is_said(name: str, tmp_path: Path) -> None:
    private = {"style": "secret style", "prompt": "secret words", "options": {"secret option": 1}}
    batch = make_iedt(1, 16)
    origin = batch.origins[0].model_copy(update={**private, "dataset_name": "secret folder"})
    batch = batch.model_copy(update={"origins": (origin,)})
    chosen = {"format": name, "prompt_writer": "secret person"}
    assert convert(batch, **chosen).data.count(b"secret") >= 5
    image = convert(batch, **chosen, publish=True)
    assert b"secret" not in image.data
    assert found(image).is_intact
    assert found(image).actions[0].source_type == "trainedAlgorithmicMedia"
    assert image.record.is_ai_generated
    assert record_inside(image.data) == image.record
    again = convert(opened(image, tmp_path), format=name, publish=True)
    assert again.record.origin.kind == "file"
    assert again.record.is_ai_generated


@pytest.mark.parametrize("name", FORMATS)
def test_a_public_copy_says_that_a_model_made_it_and_no_more(name: str) -> None:
    private = make_iedt(1, 16)
    origin = private.origins[0].model_copy(update={"prompt": "secret words"})
    first = convert(private.model_copy(update={"origins": (origin,)}), format=name)
    copy = public_copy(first.data, first.record, name)
    credentials = read_credentials(copy, f"image/{name}")
    assert credentials is not None
    assert credentials.is_intact
    assert b"secret" not in copy
    assert record_inside(copy).is_ai_generated
    shown = [np.asarray(Image.open(io.BytesIO(data))) for data in (first.data, copy)]
    if name in ("png", "tiff"):
        np.testing.assert_array_equal(*shown)


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="ExifTool is not installed")
@pytest.mark.parametrize("name", FORMATS)
def test_exiftool_reads_the_fields_of_iptc(name: str, tmp_path: Path) -> None:
    batch = make_iedt(1, 16)
    origin = batch.origins[0].model_copy(update={"prompt": "a red house"})
    batch = batch.model_copy(update={"origins": (origin,)})
    image = convert(batch, format=name, prompt_writer="Ada", forbid_training=True)
    path = tmp_path / f"picture{image.suffix}"
    path.write_bytes(image.data)
    command = ["exiftool", "-j", "-n", "-XMP:all", str(path)]
    (said,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert said["DigitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert said["AISystemUsed"] == f"Atelier {origin.family}"
    assert said["AISystemVersionUsed"].endswith(f"model {origin.model_digest[:16]}")
    assert said["AIPromptInformation"] == "a red house"
    assert said["AIPromptWriterName"] == "Ada"
    assert said["DataMining"].endswith("DMI-PROHIBITED")


@pytest.mark.parametrize("file_format", ["webp", "gif"])
def test_animations_and_sheets_are_signed(file_format: Any) -> None:
    frames = [convert(make_iedt(1, 16, seed=seed)) for seed in range(2)]
    moving = read_credentials(animate(frames, file_format, 5.0), f"image/{file_format}")
    sheet = read_credentials(strip(frames, 2), "image/png")
    for credentials in (moving, sheet):
        assert credentials is not None
        assert credentials.is_intact
        assert credentials.actions[0].source_type == "trainedAlgorithmicMedia"


def test_what_cannot_be_signed_is_refused_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from components.common.credentials.making import make
    from components.common.credentials.places import Files

    make(Files(tmp_path / "locked"), "Ada", "passphrase")
    monkeypatch.setenv("ATELIER_CREDENTIALS", str(tmp_path / "locked"))
    with pytest.raises(RefusedError, match="encrypted"):
        ImageConverter().check(ICS())
    ImageConverter().check(ICS(sign=False))


def _with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks were changed, with the checksums of what they hold now."""
    import zlib

    done, position = data[:8], 8
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        chunk = data[position + 4 : position + 8 + length]
        done += data[position : position + 4] + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        position += 12 + length
    return done
