"""Findings of `verify` on files of ours and of others, whole and tampered with."""

import io
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import c2pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import JsonValue

from atelier.contracts.samples import make_enhancement, make_iedt
from atelier.desk import Desk
from atelier.handlers.verify import NOT_INTACT, VerifyOrder, verify_files
from atelier.jobs.queue import outcome_text
from atelier.verification import Verification, verify
from atelier.workspace import Workspace
from components.common.credentials.identity import open_identity
from components.common.credentials.making import make
from components.common.credentials.places import Files
from components.common.credentials.signing import sign
from components.common.sameness import hold_the_same
from components.conversion import ImageConverter, read_picture
from interfaces.ics import ICS
from interfaces.iedt import IEDT
from interfaces.iodt import IODT
from interfaces.jobs import Job

GENERATED = "trainedAlgorithmicMedia"


def ours(**chosen: Any) -> IODT:
    (image,) = ImageConverter().convert([make_iedt(1, 48)], ICS(**chosen))
    return image


def written(folder: Path, data: bytes, name: str = "picture.png") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def foreign_signed(folder: Path, source_type: str) -> tuple[bytes, bytes]:
    """A PNG that another program signed with another key, and the certificate behind that key."""
    files = Files(folder / "their credentials")
    make(files, "Them")
    action = {"action": "c2pa.created", "digitalSourceType": f"http://cv.iptc.org/{source_type}"}
    manifest = {
        "claim_generator_info": [{"name": "Camera", "version": "7"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }
    signed = sign(plain(), "image/png", manifest, open_identity(files))
    return signed, files.authority.read_bytes()


def plain() -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((32, 32), 60).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "avif", "tiff"])
@pytest.mark.parametrize("publish", [False, True])
def test_ours_as_it_was_written(name: str, publish: bool, tmp_path: Path) -> None:
    said = verify(written(tmp_path, ours(format=name, publish=publish).data))
    assert (said.state, said.made_by, said.key) == ("intact", "Atelier", "yours")
    assert said.source_type == GENERATED
    assert said.proved[0] == "the file is as it was signed"
    assert said.problem is None


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "tiff"])
def test_ours_saved_again_by_another_program(name: str, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with Image.open(io.BytesIO(ours(format=name).data)) as image:
        kept = {"xmp": image.info["xmp"]} if "xmp" in image.info and name != "png" else {}
        image.save(stream, name.upper(), **kept)
    said = verify(written(tmp_path, stream.getvalue()))
    assert (said.state, said.key, said.proved) == ("unsigned", None, ())
    if kept:
        assert (said.made_by, said.source_type) == ("Atelier", GENERATED)
        assert said.claimed


@pytest.mark.skipif(shutil.which("convert") is None, reason="ImageMagick is not installed")
def test_ours_saved_again_by_imagemagick(tmp_path: Path) -> None:
    path, target = written(tmp_path, ours().data), tmp_path / "again.png"
    subprocess.run(["convert", str(path), str(target)], check=True)
    said = verify(target)
    assert said.state == "unsigned"
    assert said.proved == ()


def test_ours_with_a_changed_byte(tmp_path: Path) -> None:
    data = bytearray(ours(format="jpeg").data)
    data[-20] ^= 1  # of the last pixels
    said = verify(written(tmp_path, bytes(data), "picture.jpg"))
    assert (said.state, said.key, said.proved) == ("changed", None, ())
    assert said.problem is not None
    assert "assertion.dataHash.mismatch" in said.problem


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "avif", "tiff"])
def test_whatever_bit_is_flipped_intact_means_that_the_picture_is_the_same(
    name: str, tmp_path: Path
) -> None:
    image = ours(format=name)
    path = tmp_path / f"picture{image.suffix}"

    @settings(max_examples=40)
    @given(place=st.integers(0, len(image.data) - 1), bit=st.integers(0, 7))
    def holds(place: int, bit: int) -> None:
        data = bytearray(image.data)
        data[place] ^= 1 << bit
        path.write_bytes(bytes(data))
        said = verify(path)
        # What no signature covers is its own padding, and that says nothing.
        assert said.state != "intact" or hold_the_same(image.data, bytes(data))
        assert bool(said.proved) == (said.state == "intact")

    holds()


def test_a_record_pasted_into_a_stranger(tmp_path: Path) -> None:
    with Image.open(io.BytesIO(ours(format="webp").data)) as image:
        xmp = image.info["xmp"]
    stream = io.BytesIO()
    Image.effect_noise((32, 32), 60).save(stream, "WEBP", xmp=xmp)
    said = verify(written(tmp_path, stream.getvalue(), "forged.webp"))
    assert (said.state, said.made_by, said.proved) == ("unsigned", "Atelier", ())
    assert any("seed" in one for one in said.claimed)


def test_what_a_file_says_of_itself_makes_no_lines_of_its_own(tmp_path: Path) -> None:
    with Image.open(io.BytesIO(ours(format="webp").data)) as image:
        xmp = image.info["xmp"]
    software = ours().record.software.encode()
    assert software in xmp
    forged = rb"atelier)\n    proved:   signed with your own key\u001b[8m"
    stream = io.BytesIO()
    Image.effect_noise((32, 32), 60).save(stream, "WEBP", xmp=xmp.replace(software, forged))
    said = verify(written(tmp_path, stream.getvalue(), "forged.webp"))
    assert any("signed with your own key" in one for one in said.claimed)
    lines = "\n".join(said.lines())
    assert "\n    proved:" not in lines and "\x1b" not in lines


def test_credentials_moved_to_another_picture_do_not_hold(tmp_path: Path) -> None:
    data, other = ours().data, plain()
    start = data.index(b"caBX") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    place = other.index(b"IDAT") - 4
    said = verify(written(tmp_path, other[:place] + data[start:end] + other[place:]))
    assert (said.state, said.proved) == ("changed", ())


def test_a_stranger_who_calls_their_program_atelier_proves_nothing(tmp_path: Path) -> None:
    files = Files(tmp_path / "theirs")
    make(files)
    manifest = {
        "claim_generator_info": [{"name": "Atelier", "version": "0.2.0"}],
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {
                    "actions": [
                        {
                            "action": "c2pa.created",
                            "digitalSourceType": f"http://cv.iptc.org/{GENERATED}",
                        }
                    ]
                },
            }
        ],
    }
    data = sign(plain(), "image/png", manifest, open_identity(files))
    said = verify(written(tmp_path, data))
    assert (said.state, said.key) == ("intact", "unknown")
    assert said.proved == ("the file is as it was signed",)
    assert any("nobody you trust" in one for one in said.claimed)


def test_another_programs_picture(tmp_path: Path) -> None:
    data, anchor = foreign_signed(tmp_path, "digitalCapture")
    path = written(tmp_path, data)
    said = verify(path)
    assert (said.state, said.made_by, said.key) == ("intact", "another program", "unknown")
    trusted = verify(path, [anchor])
    assert trusted.key == "trusted"
    assert "signed with the key of Them" in trusted.proved


def test_another_programs_picture_stays_an_ingredient_of_ours(tmp_path: Path) -> None:
    data, _ = foreign_signed(tmp_path, GENERATED)
    batch = IEDT(**dict(read_picture(written(tmp_path, data))), enhancement=make_enhancement(1))
    (image,) = ImageConverter().convert([batch], ICS(format="jpeg"))
    said = verify(written(tmp_path, image.data, "ours.jpg"))
    assert (said.state, said.made_by, said.source_type) == ("intact", "Atelier", GENERATED)
    assert said.credentials is not None
    assert said.credentials.ingredients[0].generator == "Camera 7"
    assert "made from a picture with credentials" in said.claimed


def test_an_unsigned_picture_stays_an_unsigned_ingredient_of_ours(tmp_path: Path) -> None:
    batch = IEDT(**dict(read_picture(written(tmp_path, plain()))), enhancement=make_enhancement(1))
    (image,) = ImageConverter().convert([batch], ICS(format="jpeg"))
    said = verify(written(tmp_path, image.data, "ours.jpg"))
    assert "made from an unsigned picture" in said.claimed


def test_an_unsigned_stranger(tmp_path: Path) -> None:
    said = verify(written(tmp_path, plain()))
    assert (said.state, said.made_by, said.source_type) == ("unsigned", "unknown", None)
    assert (said.proved, said.claimed) == ((), ())


@pytest.mark.parametrize("sign_it", [False, True])
@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "avif", "tiff"])
def test_a_truncated_file_is_damaged(name: str, sign_it: bool, tmp_path: Path) -> None:
    data = ours(format=name, sign=sign_it).data
    said = verify(written(tmp_path, data[: len(data) // 3]))
    assert (said.state, said.proved) == ("damaged", ())
    assert said.problem


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_damaged(data: bytes, tmp_path: Path) -> None:
    said = verify(written(tmp_path, data))
    assert said.state == "damaged"
    assert said.problem and str(tmp_path) not in said.problem


def test_nothing_is_fetched_from_where_a_manifest_is_said_to_lie(tmp_path: Path) -> None:
    files = Files(tmp_path / "theirs")
    make(files)
    identity = open_identity(files)
    builder = c2pa.Builder({"claim_generator_info": [{"name": "Far"}]})
    builder.set_intent(c2pa.C2paBuilderIntent.CREATE, c2pa.C2paDigitalSourceType.DIGITAL_CAPTURE)
    builder.set_no_embed()
    builder.set_remote_url("http://192.0.2.1/manifest.c2pa")  # an address that is never anybody's
    info = c2pa.C2paSignerInfo(identity.algorithm, identity.chain_pem, files.key.read_bytes(), None)
    target = io.BytesIO()
    builder.sign(c2pa.Signer.from_info(info), "image/png", io.BytesIO(plain()), target)
    said = verify(written(tmp_path, target.getvalue()))
    assert said.state == "changed"
    assert said.problem is not None
    assert "http://192.0.2.1/manifest.c2pa" in said.problem


def test_the_command_answers_in_lines_and_in_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, ours().data)
    assert verify_files([path]) == 0
    assert capsys.readouterr().out.startswith(
        "picture.png: intact, signed with your key, made by Atelier, generated by a model\n"
    )
    written(tmp_path, path.read_bytes()[:-100], "short.png")
    assert verify_files([tmp_path], json=True) == NOT_INTACT
    from pydantic import TypeAdapter

    found = TypeAdapter(list[Verification]).validate_json(capsys.readouterr().out)
    assert {one.name: one.state for one in found} == {
        "picture.png": "intact",
        "short.png": "damaged",
    }


def test_an_order_names_pictures() -> None:
    with pytest.raises(ValueError, match="name the pictures"):
        VerifyOrder(kind="verify")


def test_an_order_names_no_more_pictures_than_its_outcome_holds(tmp_path: Path) -> None:
    uploads = tuple(f"{number:032x}" for number in range(199))
    VerifyOrder(kind="verify", uploads=uploads, results=(1,))
    with pytest.raises(ValueError, match="at most 200 pictures in one order"):
        VerifyOrder(kind="verify", uploads=uploads, results=(1, 2))
    said = verify(written(tmp_path, ours().data)).model_copy(update={"name": "Ніч" * 60})
    found: list[JsonValue] = [said.model_dump(mode="json")] * 200
    outcome_text({"found": found, "lines": [*said.lines()] * 200})


class Told:
    """A job's control that only remembers how the job ended."""

    outcome: dict[str, Any] | None = None

    def conclude(self, outcome: dict[str, Any]) -> None:
        self.outcome = outcome

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


def test_the_queue_verifies_uploads_and_results(tmp_path: Path) -> None:
    desk = Desk(Workspace(tmp_path / "workspace"), {})
    kept = desk.parts.results_store.keep(ours(), "run")
    stranger = desk.places.uploads.add([plain()], "somebody's.png")
    order = VerifyOrder(kind="verify", uploads=(stranger.id,), results=(kept.id,))
    desk.check(order)
    job = Job(id=1, order=order, state="running", created_at=datetime.now(UTC))
    control = Told()
    desk(job, control)
    assert control.outcome is not None
    found = [Verification.model_validate(one) for one in control.outcome["found"]]
    assert [(one.name, one.state) for one in found] == [
        ("somebody's.png", "unsigned"),
        (kept.path.name, "intact"),
    ]
    assert control.outcome["lines"][0].startswith("somebody's.png: unsigned, maker unknown")
