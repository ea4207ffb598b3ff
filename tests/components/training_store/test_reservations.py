"""Pictures that say not to train on them: found, left out, and the decision recorded."""

import io
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

import pipeline
from atelier.contracts.samples import make_iedt
from components.common.reservations import reservation_in
from components.conversion import ImageConverter
from components.preprocessing import create as create_preprocessor
from components.training_store import create, report_lines
from interfaces.ics import ICS
from interfaces.ipdt import PreprocessingSettings
from interfaces.itdt import ITDT, CollectionSettings, Rights
from interfaces.progress import silent

PACKET = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    'xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/">'
    '<rdf:Description rdf:about="" {attribute}>{element}</rdf:Description></rdf:RDF></x:xmpmeta>'
)
PROHIBITED = "http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED"
BAG = "<dc:subject><rdf:Bag><rdf:li>sea</rdf:li><rdf:li>{}</rdf:li></rdf:Bag></dc:subject>"


def picture(seed: int = 0, name: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    noise = Image.effect_noise((32, 32), 60 + seed).convert("RGB")
    noise.save(stream, name, **options)
    return stream.getvalue()


def with_xmp(attribute: str = "", element: str = "") -> bytes:
    return picture(xmp=PACKET.format(attribute=attribute, element=element).encode())


def test_keywords_that_are_no_text_say_nothing() -> None:
    """EXIF's XPKeywords as four 16-bit numbers: one entry, its values behind the directory."""
    entry = struct.pack("<HHHII", 1, 0x9C9E, 3, 4, 26) + bytes(4)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + entry + struct.pack("<4H", 300, 1, 2, 3)
    assert reservation_in(picture(exif=exif)) is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (with_xmp(f'plus:DataMining="{PROHIBITED}"'), "all data mining"),
        (
            with_xmp(element=f"<plus:DataMining>{PROHIBITED}-AIMLTRAINING</plus:DataMining>"),
            "training of models",
        ),
        (
            with_xmp(element=f'<plus:DataMining rdf:resource="{PROHIBITED}-GENAIMLTRAINING"/>'),
            "training of generative models",
        ),
        (with_xmp(element=BAG.format("NoAI")), "keyword noai"),
        (with_xmp(element=BAG.format("noimageai")), "keyword noimageai"),
    ],
)
def test_what_forbids_training_is_found(data: bytes, words: str) -> None:
    found = reservation_in(data)
    assert found is not None
    assert words in found


@pytest.mark.parametrize(
    "data",
    [
        picture(),
        picture(name="PNG"),
        with_xmp('plus:DataMining="http://ns.useplus.org/ldf/vocab/DMI-ALLOWED"'),
        with_xmp('plus:DataMining="http://ns.useplus.org/ldf/vocab/DMI-UNSPECIFIED"'),
        with_xmp(element=BAG.format("piano aires")),  # 'noai' inside another word
        picture(xmp=b"<not XML: DataMining DMI-PROHIBITED"),
        picture(xmp=b"<!DOCTYPE x [<!ENTITY a 'DataMining'>]><x>&a;</x>"),
    ],
)
def test_what_forbids_nothing_is_taken(data: bytes) -> None:
    assert reservation_in(data) is None


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "avif", "tiff"])
def test_credentials_that_forbid_it_are_heard(name: str) -> None:
    (image,) = ImageConverter().convert([make_iedt(1, 32)], ICS(format=name, forbid_training=True))
    found = reservation_in(image.data)
    assert found == "content credentials: ai_generative_training notAllowed"
    (usual,) = ImageConverter().convert([make_iedt(1, 32)], ICS(format=name))
    assert reservation_in(usual.data) is None


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="ExifTool is not installed")
@pytest.mark.parametrize("tag", ["-XMP-dc:Subject=noai", "-XPKeywords=noai;sea"])
def test_what_exiftool_wrote_is_found(tag: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(picture())
    subprocess.run(["exiftool", "-q", tag, str(path)], check=True)
    assert reservation_in(path.read_bytes()) == "keyword noai"


def test_a_text_of_a_png_is_a_keyword() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Keywords", "noai")
    assert reservation_in(picture(name="PNG", pnginfo=info)) == "keyword noai"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty pictures of which three forbid training."""
    folder = tmp_path / "art"
    folder.mkdir()
    for number in range(20):
        options: dict[str, Any] = {}
        if number % 7 == 0:
            options["xmp"] = PACKET.format(
                attribute=f'plus:DataMining="{PROHIBITED}"', element=""
            ).encode()
        (folder / f"{number:02d}.jpg").write_bytes(picture(number, **options))
    return folder


def collected(workspace: Path, folder: Path, **chosen: Any) -> ITDT:
    settings = CollectionSettings(data=str(folder), **chosen)
    return create(workspace).collect(settings, silent)


def test_they_are_left_out_and_named(folder: Path, tmp_path: Path) -> None:
    found = collected(tmp_path / "ws", folder)
    assert found.num_images == 17
    assert found.rights == Rights(num_reserved=3, decision="left out")
    put_aside = {file.name: (file.reason, file.detail) for file in found.quarantined()}
    assert put_aside.keys() == {"00.jpg", "07.jpg", "14.jpg"}
    assert set(put_aside.values()) == {("reserved", "PLUS data mining: prohibits all data mining")}
    lines = report_lines(found)
    assert "Rights: 3 images say not to train on them, and are left out" in lines


def test_a_person_may_decide_otherwise_and_it_is_recorded(folder: Path, tmp_path: Path) -> None:
    found = collected(tmp_path / "ws", folder, reserved="take")
    assert found.num_images == 20
    assert found.rights == Rights(num_reserved=3, decision="taken")
    assert sum(image.reservation is not None for image in found.images()) == 3
    assert any("are taken all the same" in line for line in report_lines(found))
    settings = PreprocessingSettings(resolution=16)
    prepared = create_preprocessor(tmp_path / "ws").preprocess(found, settings, silent)
    assert prepared.rights == found.rights


def test_a_run_says_so_in_a_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare = ("preprocess", "--data", str(folder), "--resolution", "16")
    workspace = ("--workspace", str(tmp_path / "ws"))
    assert pipeline.main([*prepare, *workspace]) == 0
    left_out = "pictures left out because their files say not to train on them: 3; "
    assert left_out + "`--collect.reserved take` takes them" in _unwrapped(capsys)
    assert pipeline.main([*prepare, *workspace, "--collect.reserved", "take"]) == 0
    taken = "pictures taken although their files say not to train on them: 3"
    assert taken in _unwrapped(capsys)


def _unwrapped(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr()
    return " ".join((said.out + said.err).split())


def test_the_same_pictures_without_the_others_say_nothing(folder: Path, tmp_path: Path) -> None:
    settings, workspace = PreprocessingSettings(resolution=16), tmp_path / "ws"
    first = collected(workspace, folder)
    preprocessor = create_preprocessor(workspace)
    assert preprocessor.preprocess(first, settings, silent).rights == first.rights
    for path in sorted(folder.iterdir())[::7]:
        path.unlink()
    second = collected(workspace, folder)
    assert second.digest == first.digest
    assert second.rights is None
    assert preprocessor.preprocess(second, settings, silent).rights is None
