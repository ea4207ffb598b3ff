"""A person's own pictures turned by a model: whole folders, once, with all that the files held."""

import hashlib
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from atelier.assembly import assemble
from atelier.own_files import Errand, Requests, Rework, Treatment, own_file
from atelier.workspace import Workspace
from components.common.checkpoints import save_weights
from components.conversion import read_picture, read_record
from components.families import FAMILIES
from components.families.port import Shape
from interfaces.ics import ICS
from interfaces.ies import IES
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.iodt import ResultQuery
from interfaces.progress import silent
from tests.end_to_end.cli import atelier, here, one_line
from tests.helpers import digest

CYCLEGAN = {
    "channels": 8,
    "blocks": 1,
    "discriminator_channels": 8,
    "discriminator_layers": 1,
}
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
MARK = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def model_in(folder: Path, family: str, **config: Any) -> IGME:
    """A model with seeded weights, 16×16, as a training would leave it."""
    folder.mkdir(parents=True)
    known = FAMILIES[family]
    checked = known.config.model_validate(config)
    torch.manual_seed(0)
    network = known.method().build_network(checked, Shape(16, 2))
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for tensor in weights.values():
        if tensor.is_floating_point() and tensor.ndim == 4:
            tensor.normal_(0, 0.1)
    model = IGME(
        directory=folder,
        family=family,
        config=checked.model_dump(),
        weights_sha256=save_weights(folder / "weights.safetensors", weights),
        resolution=16,
        styles=("night", "day"),
        dataset_name="test",
        dataset_digest=digest("test"),
        images_seen=0,
    )
    (folder / "model.json").write_text(model.manifest())
    return model


@pytest.fixture
def cyclegan(tmp_path: Path) -> IGME:
    """A CycleGAN in the workspace, named as `adopt` would."""
    return model_in(tmp_path / "workspace" / "models" / "turner", "cyclegan", **CYCLEGAN)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven good files of six formats and sizes in two folders, and three bad ones."""
    root = tmp_path / "my pictures"
    (root / "inner").mkdir(parents=True)
    rng = np.random.default_rng(0)

    def painting(width: int, height: int) -> Image.Image:
        pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)

    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "A. Painter"
    exif[ExifTags.Base.Orientation] = 6
    side = painting(40, 30)
    side.save(root / "on its side.jpg", exif=exif, icc_profile=PROFILE, dpi=(300, 150))
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "Evening")
    painting(21, 17).save(root / "text.png", pnginfo=text, dpi=(72, 72))
    transparent = painting(24, 20).convert("RGBA")
    transparent.putalpha(Image.linear_gradient("L").resize((24, 20)))
    transparent.save(root / "inner" / "transparent.png")
    painting(19, 33).convert("L").save(root / "inner" / "grey.tif")
    painting(16, 16).save(root / "inner" / "plain.webp", lossless=True)
    painting(20, 20).save(root / "inner" / "plain.bmp")
    painting(12, 10).quantize(8).save(root / "palette.gif")
    (root / "broken.png").write_bytes((root / "text.png").read_bytes()[:90])
    (root / "phone.heic").write_bytes(b"not read")
    painting(6, 5).save(root / "inner" / "too small.png")
    return root


def test_a_folder_is_turned_each_file_in_its_place_and_once(
    cyclegan: IGME, folder: Path, tmp_path: Path
) -> None:
    command = ("rework", folder, "--model", "turner", "--style", "day", "--output=out")
    done = atelier(*command, cwd=tmp_path)
    assert done.returncode == 3, done.stderr  # done, but for three
    for bad in ("broken.png: ", "phone.heic: .heic files", "too small.png: cyclegan: source: 6×5"):
        assert bad in done.stderr
    assert "3 of 10 could not be used" in done.stderr
    out = tmp_path / "out"
    made = {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*.*")}
    assert made.keys() == {
        "on its side.png",
        "text.png",
        "palette.png",
        "inner/transparent.png",
        "inner/grey.png",
        "inner/plain.png",
        "inner/plain-2.png",
    }
    for name, size in {"on its side": (30, 40), "text": (21, 17), "inner/grey": (19, 33)}.items():
        with Image.open(out / f"{name}.png") as image:
            assert image.size == size
            assert image.mode == "RGB"
    _check_record(out / "text.png", folder / "text.png", cyclegan)

    again = here(*command, cwd=tmp_path)
    assert again.returncode == 3, again.stderr
    assert "images:        0 in" in again.stderr and "7 that were there already" in again.stderr
    assert made == {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*.*")}
    other_style = (*command[:5], "night", *command[6:])
    assert here(*other_style, cwd=tmp_path).returncode == 3
    assert len(list(out.rglob("*.*"))) == 14  # another style is another picture, beside the first


def _check_record(result: Path, source: Path, model: IGME) -> None:
    record = read_record(result)
    assert record.is_ai_generated
    assert record.enhancement.scale == 1
    origin = record.origin
    assert origin.kind == "generated"
    assert (origin.family, origin.style, origin.model_digest) == ("cyclegan", "day", model.digest)
    (given,) = origin.inputs
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    assert (given.role, given.name, given.sha256) == ("source", source.name, sha256)


@pytest.mark.slow
def test_what_a_file_held_goes_with_its_picture(
    cyclegan: IGME, folder: Path, tmp_path: Path
) -> None:
    for name in ("png", "jpeg", "webp", "tiff"):
        done = here(
            "rework", folder, "--model=turner", f"--format={name}", f"--output={name}", cwd=tmp_path
        )
        assert done.returncode == 3, done.stderr
        suffix = {"jpeg": "jpg", "tiff": "tif"}.get(name, name)
        path = tmp_path / name / f"on its side.{suffix}"
        with Image.open(path) as image:
            exif = image.getexif()
            assert exif[ExifTags.Base.Artist] == "A. Painter"
            assert exif.get(ExifTags.Base.Orientation, 1) == 1
            assert image.info["icc_profile"] == PROFILE
            assert exif[ExifTags.Base.XResolution] == pytest.approx(150)  # it lay on its side
            assert exif[ExifTags.Base.YResolution] == pytest.approx(300)
        assert MARK.encode() in path.read_bytes()
    with Image.open(tmp_path / "png" / "text.png") as image:
        assert image.info["Title"] == "Evening"
        assert image.info["dpi"] == pytest.approx((72, 72), abs=0.1)
    with (
        Image.open(tmp_path / "png" / "inner" / "transparent.png") as image,
        Image.open(folder / "inner" / "transparent.png") as source,
    ):
        np.testing.assert_array_equal(image.getchannel("A"), source.getchannel("A"))


@pytest.mark.slow
def test_the_store_keeps_each_once_under_its_own_name_and_enlarged_where_asked(
    cyclegan: IGME, folder: Path, tmp_path: Path
) -> None:
    pictures = (folder / "text.png", folder / "palette.gif")
    command = ("rework", *pictures, "--model=turner", "--scale=4", "--enhancer=lanczos")
    for told in ("images:        2 in", "2 that were there already"):
        done = here(*command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert told in done.stderr
    results = tmp_path / "workspace" / "results"
    with Image.open(next(results.rglob("text.png"))) as image:
        assert image.size == (84, 68)
    assert [p.name for p in sorted(results.rglob("*.png"))] == ["palette.png", "text.png"]
    with sqlite3.connect(results / "results.sqlite") as database:
        assert database.execute("SELECT count(*) FROM results").fetchone()[0] == 2


def test_a_family_of_one_size_makes_its_own_square(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "workspace" / "models" / "small"
    model_in(place, "vae", latent_dim=8, channels=8, max_channels=16)
    pictures = (folder / "inner" / "transparent.png", folder / "inner" / "grey.tif")
    done = here("rework", *pictures, "--model=small", "--output=out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("transparent", "grey"):
        with Image.open(tmp_path / "out" / f"{name}.png") as image:
            assert (image.size, image.mode) == ((16, 16), "RGB")


def test_what_cannot_be_asked_for_is_one_line(cyclegan: IGME, folder: Path, tmp_path: Path) -> None:
    def refused(*arguments: str | Path) -> str:
        return one_line(here("rework", folder, *arguments, cwd=tmp_path))

    assert "no model here" in refused("--model=nowhere")
    shipped = refused("--model=shipped")
    assert "a r3gan model cannot read pictures" in shipped
    assert "cyclegan" in shipped
    assert "it knows night, day" in refused("--model=turner", "--style=noon")
    assert "count: `rework` makes one picture a file" in refused("--model=turner", "--count=2")
    elsewhere = here("rework", tmp_path / "elsewhere", "--model=turner", cwd=tmp_path)
    assert "there is no such file or folder" in one_line(elsewhere)
    weights = cyclegan.weights_path
    weights.write_bytes(weights.read_bytes()[:-10])
    assert "damaged or exchanged" in refused("--model=turner")


def test_where_nothing_can_be_made_of_any_file_it_is_an_error(
    cyclegan: IGME, folder: Path, tmp_path: Path
) -> None:
    done = here("rework", folder / "inner" / "too small.png", "--model=turner", cwd=tmp_path)
    assert "rework: nothing could be made of any of these files" in one_line(done)


def test_for_publishing_too_nothing_is_made_twice_and_nothing_else_is_taken_for_it(
    cyclegan: IGME, tmp_path: Path
) -> None:
    """A published record names neither style nor file, so a note in the workspace must."""
    mine, out = tmp_path / "mine.png", tmp_path / "out"
    Image.linear_gradient("L").resize((20, 20)).convert("RGB").save(mine)
    place = Workspace(tmp_path / "workspace")
    parts, convert = assemble(place.root), ICS(publish=True)

    def worked_on(treatment: Treatment, output: Path | None) -> list[bytes]:
        """The files that are there afterwards."""
        assert Errand(parts, treatment, read_record, ".png", output).run({mine: Path()})
        kept = parts.results_store.find(ResultQuery())
        paths = sorted(output.iterdir()) if output else [result.path for result in kept]
        return [path.read_bytes() for path in paths]

    def reworked(style: str) -> list[bytes]:
        settings = IGS.model_validate({"source": mine, "style": style})
        notes = Requests(place.requests)
        work = Rework(parts.generation, cyclegan, settings, read_picture, silent, notes)
        treatment = Treatment("rework", work.read, work.file_of, work.keep, IES(scale=1), convert)
        return worked_on(treatment, out)

    (first,) = reworked("day")
    record = read_record(out / "mine.png")
    assert record.is_published and record.origin.kind == "generated"
    assert [(given.role, given.name) for given in record.origin.inputs] == [("source", "unnamed")]
    assert reworked("day") == [first]  # signed anew it would be other bytes
    assert len(reworked("night")) == 2
    taken = Treatment("convert", read_picture, own_file, lambda image: None, IES(scale=1), convert)
    (stored,) = worked_on(taken, None)
    assert worked_on(taken, None) == [stored]
