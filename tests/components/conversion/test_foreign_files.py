"""Files from anywhere: refused by their headers where they must be, and else nothing is lost."""

import io
import logging
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, IptcImagePlugin, PngImagePlugin

from components.common.files import is_regular, open_regular
from components.common.images import check_header, foreign, open_upright
from components.common.samples import UnsupportedError, floating, signed, unsigned
from components.conversion import ImageConverter, find_pictures, read_picture, read_record
from components.conversion.profiles import grey_as_rgb, of_gamma
from interfaces.errors import AtelierError, DamagedError, NotFoundError, RefusedError
from interfaces.ics import ICS
from interfaces.iedt import IEDT
from interfaces.iodt import IODT
from tests.components.conversion.layouts import Tiff, levels, png, scene
from tests.helpers import REPOSITORY, make_enhancement

FORMATS = ["png", "jpeg", "webp", "avif", "tiff"]
SRGB = ImageCms.createProfile("sRGB")


def converted(path: Path, file_format: str) -> IODT:
    batch = IEDT(**dict(read_picture(path)), enhancement=make_enhancement(1))
    (result,) = ImageConverter().convert([batch], ICS(format=file_format))
    return result


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


# ---------------------------------------------------------------- rules for samples


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 32), st.data())
def test_integers_keep_their_share_of_white(bits: int, data: st.DataObject) -> None:
    highest = 2**bits - 1
    value = data.draw(st.integers(0, highest))
    size = next(size for size in (1, 2, 4) if bits <= 8 * size)
    found = unsigned(np.array([[0, value, highest]], f"u{size}"), bits)
    white = np.iinfo(found.dtype).max
    assert found.dtype == (np.uint8 if bits <= 8 else np.uint16)
    assert (found[0, 0], found[0, 2]) == (0, white)
    assert abs(float(found[0, 1]) / white - value / highest) <= 0.5 / white + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([1.0, 255.0, 65535.0]), st.floats(0.07, 1.9), st.floats(0, 0.2))
def test_floating_samples_find_their_white(white: float, top: float, under: float) -> None:
    values = np.array([[-under * white, 0, top * white / 2, top * white]])
    found = floating(values).astype(np.float64) / 65535
    np.testing.assert_allclose(found, np.clip(values / white, 0, 1), atol=1e-4)


@pytest.mark.parametrize("values", [[0.0, 5.0], [0, 1000.0], [0, 1e6], [-0.5, 1], [np.nan, 1]])
def test_floating_samples_of_no_known_white_are_refused(values: list[float]) -> None:
    with pytest.raises(UnsupportedError, match="save it with integers"):
        floating(np.array([values]))


def test_signed_samples_below_0_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="below 0, down to -5"):
        signed(np.array([[-5, 7]], np.int16), 16)


# ---------------------------------------------------------------- known from the header


def huge_png(side: int) -> bytes:
    """A whole PNG of one colour: small as a file, huge as a picture."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    pixels = zlib.compressobj(9)
    row = b"\0" + bytes((side + 7) // 8)
    packed = b"".join(pixels.compress(row) for _ in range(side)) + pixels.flush()
    parts = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


@pytest.mark.parametrize(
    "side,scale,file_format,fault",
    [
        (10_001, 1, None, "100,000,000 in all"),
        (6000, 4, None, "choose a smaller scale"),
        (5000, 4, "webp", "20000x20000 does not fit into a webp file"),
        (5000, 16, "png", "choose a smaller scale"),
    ],
)
def test_what_is_too_large_is_refused_before_it_is_decoded(
    side: int, scale: int, file_format: str | None, fault: str, tmp_path: Path
) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(huge_png(side))
    tracemalloc.start()
    with pytest.raises(RefusedError, match=fault):
        read_picture(path, scale, file_format)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_tiff_of_millions_of_tiles_that_are_not_there_takes_no_memory() -> None:
    tags = {256: 9000, 257: 9000, 258: 8, 259: 1, 262: 1, 277: 1, 322: 1, 323: 1, 324: 8, 325: 1}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    tracemalloc.start()
    with pytest.raises(DamagedError, match="81000000 tiles"), foreign("it"):
        open_upright(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_header_is_read_from_bytes_a_path_and_a_stream(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(huge_png(9000))
    with path.open("rb") as stream:
        found = {check_header(source) for source in (path.read_bytes(), path, stream)}
    (header,) = found
    assert (header.width, header.height, header.mode, header.format) == (9000, 9000, "1", "PNG")
    with pytest.raises(UnsupportedError, match="1,000,000 in all"):
        check_header(path, max_pixels=1_000_000)


@pytest.mark.parametrize("bits,kind,mode", [(16, "u", "RGB"), (32, "f", "RGB"), (8, "u", "RGB")])
def test_a_header_that_pillow_does_not_know_is_read(bits: int, kind: str, mode: str) -> None:
    numbers = scene(3).astype(f"{kind}{bits // 8}")
    data = Tiff(numbers, bits, 2, is_planar=True, order=">").data()
    header = check_header(data)
    assert (header.width, header.height, header.mode) == (37, 23, mode)


def test_the_host_programs_guard_stays_as_it_is() -> None:
    program = """
from PIL import Image, PngImagePlugin
before = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
import components.conversion, components.common.images
assert (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK) == before
assert before[0] is not None
"""
    command = [sys.executable, "-c", program]
    subprocess.run(command, check=True, cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": "."})


def test_a_record_in_a_file_beyond_the_hosts_guard_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    result = converted(tmp_path / "a.png", "png")
    (tmp_path / "b.png").write_bytes(result.data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read_record(tmp_path / "b.png").is_claim
    assert open_upright(result.data).size == (20, 20)


# ---------------------------------------------------------------- what is no file


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_pipes_and_devices_are_never_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    assert list(find_pictures([tmp_path, tmp_path / "pipe.png"])) == [tmp_path / "a.png"]
    assert any("pipe.png: a pipe" in said for said in warnings_in(caplog))
    with pytest.raises(NotFoundError, match="no picture"):
        find_pictures([tmp_path / "pipe.png"])
    (tmp_path / "lost.png").symlink_to("nowhere.png")  # as a shell's *.png names it, with others
    named = [tmp_path / "lost.png", tmp_path / "a.png"]
    assert list(find_pictures(named)) == named
    for path in (tmp_path / "pipe.png", Path("/dev/zero")):
        assert not is_regular(path)
        for read in (read_picture, read_record):
            with pytest.raises(AtelierError, match="a pipe, socket or device"):
                read(path)
        with pytest.raises(OSError, match="a pipe, socket or device"):
            open_regular(path)


def test_what_decoders_raise_is_one_line() -> None:
    for raised, expected in [
        (ZeroDivisionError("a\nb"), DamagedError),
        (UnsupportedError("is odd; save it"), RefusedError),
        (FileNotFoundError(2, "No such file"), NotFoundError),
        (MemoryError(), RefusedError),
        (RecursionError("deep"), DamagedError),
    ]:
        with pytest.raises(expected, match=r"^x\.png: ") as refusal, foreign("x.png"):
            raise raised
        assert "\n" not in str(refusal.value)
    with pytest.raises(KeyboardInterrupt), foreign("x.png"):
        raise KeyboardInterrupt


def test_a_name_that_is_no_utf_8_is_read_and_recorded(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\x1b[2J.png"))
    try:
        Image.new("RGB", (4, 4)).save(path, "PNG")
    except OSError:
        pytest.skip("this disk takes no such name")
    (origin,) = read_picture(path).origins
    assert origin.name.isprintable() and origin.name.encode("utf-8")


# ---------------------------------------------------------------- metadata


def iptc_jpeg(folder: Path) -> Path:
    """A JPEG with captions in IPTC-IIM alone, one in Latin-1, after a resource of another kind."""

    def data_set(number: int, text: bytes) -> bytes:
        return b"\x1c\x02" + bytes([number]) + struct.pack(">H", len(text)) + text

    block = data_set(120, b"The caption") + data_set(80, "Žofia Ký".encode())
    block += data_set(25, b"sea") + data_set(25, b"boats") + data_set(116, b"\xa9 Museum")
    resources = b"8BIM\x03\xed\0\0\0\0\0\x03abc\0"
    resources += b"8BIM\x04\x04\0\0" + struct.pack(">I", len(block)) + block
    segment = b"Photoshop 3.0\0" + resources + bytes(len(block) % 2)
    path = folder / "photo.jpg"
    Image.new("RGB", (16, 16)).save(path)
    data = path.read_bytes()
    marker = b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment
    path.write_bytes(data[:20] + marker + data[20:])
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_captions_are_kept_in_every_format(name: str, tmp_path: Path) -> None:
    result = converted(iptc_jpeg(tmp_path), name)
    image = Image.open(io.BytesIO(result.data))
    xmp = image.getexif().get(700) if name == "tiff" else image.info["xmp"]
    said = xmp if isinstance(xmp, bytes) else xmp.encode()
    for text in ("The caption", "Žofia Ký", "sea", "boats", "© Museum"):
        assert text.encode() in said
    if name in ("jpeg", "tiff"):
        found = IptcImagePlugin.getiptcinfo(image)
        assert found is not None and found[2, 120] == b"The caption"
        assert found[2, 25] == [b"sea", b"boats"]
    again = tmp_path / f"again.{name}"
    again.write_bytes(result.data)
    (carried,) = read_picture(again).carried or ()
    assert (carried.iptc is not None) == (name in ("jpeg", "tiff"))


@pytest.mark.parametrize("name", FORMATS)
def test_a_comment_is_kept_or_named(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "scan.jpg"
    Image.new("RGB", (16, 16)).save(path, comment="scanned by the archive, Львів")
    image = Image.open(io.BytesIO(converted(path, name).data))
    said = image.info.get("comment", image.info.get("Comment", ""))
    said = said.decode() if isinstance(said, bytes) else said
    assert (said == "scanned by the archive, Львів") == (name in ("png", "jpeg"))
    lost = [f"scan.jpg: its own text 'Comment' is left out (a {name} file has no place for it)"]
    assert warnings_in(caplog) == ([] if name in ("png", "jpeg") else lost)


def shown_in_srgb(data: bytes) -> np.ndarray:
    """Pixels that a colour-managed program shows, in sRGB."""
    image = Image.open(io.BytesIO(data))
    profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    turned = ImageCms.profileToProfile(image, profile, SRGB, outputMode="RGB")
    assert turned is not None
    return np.asarray(turned, np.float64)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("num_colours", [1, 3])
def test_the_gamma_of_a_png_looks_the_same_in_every_format(
    name: str, num_colours: int, tmp_path: Path
) -> None:
    """Linear light, gAMA 1.0: as a viewer shows it, it is brighter than its numbers."""
    numbers = levels(scene(num_colours), 8)
    chunk = (b"gAMA", struct.pack(">I", 100_000))
    (tmp_path / "light.png").write_bytes(png(numbers, 8, 0 if num_colours == 1 else 2, chunk))
    light = numbers.astype(np.float64) / 255
    srgb = np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light) * 255
    shown = shown_in_srgb(converted(tmp_path / "light.png", name).data)
    is_lossless = name in ("png", "tiff")
    bright = light.min(axis=-1) > 0.1  # darker, a level of linear light is many of sRGB
    error = np.abs(shown - np.broadcast_to(srgb, shown.shape))[bright]
    assert error.max() < (2 if is_lossless else 12)


def test_a_gamma_of_srgb_needs_no_profile() -> None:
    assert of_gamma(0.45455, None, is_grey=False) is None
    assert of_gamma(None, (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06), is_grey=False) is None
    assert of_gamma(0.45455, (0.3127, 0.329, 0.68, 0.32, 0.26, 0.69, 0.15, 0.06), is_grey=False)
    on_a_line = (0.3, 0.3, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3)
    assert of_gamma(0.5, on_a_line, is_grey=False) is None


@pytest.mark.parametrize("gamma", [0.4, 0.7, 1.0])
def test_a_grey_profile_of_rgb_shows_the_same_grey(gamma: float) -> None:
    profile = of_gamma(gamma, None, is_grey=True)
    assert profile is not None
    of_colours = grey_as_rgb(profile)
    assert of_colours is not None
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    both = [
        ImageCms.profileToProfile(
            image, ImageCms.ImageCmsProfile(io.BytesIO(data)), SRGB, outputMode="RGB"
        )
        for image, data in ((ramp, profile), (ramp.convert("RGB"), of_colours))
    ]
    first, second = (np.asarray(image, np.float64) for image in both)
    # Darker ones, of which a level of linear light is many of sRGB, lcms takes from short tables.
    assert np.abs(first - second)[0, 64:].max() <= 1
    assert grey_as_rgb(profile[:140]) is None


@pytest.mark.parametrize("kind", ["profile", "zipped text", "plain text"])
def test_a_png_with_long_metadata_is_whole(kind: str, tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    words = "1," * 1_000_000
    profile = ImageCms.ImageCmsProfile(SRGB).tobytes()
    long_profile = profile + bytes(np.random.default_rng(0).integers(0, 4, 1_500_000, np.uint8))
    if kind != "profile":
        texts.add_text("workflow", words, zip=kind == "zipped text")
    image = Image.fromarray(levels(scene(3), 8))
    options = {"icc_profile": long_profile} if kind == "profile" else {"pnginfo": texts}
    image.save(tmp_path / "long.png", **options)
    (carried,) = read_picture(tmp_path / "long.png").carried or ()
    if kind == "profile":
        assert carried.icc_profile == long_profile
    else:
        assert carried.text == {"workflow": words}
    np.testing.assert_array_equal(open_upright((tmp_path / "long.png").read_bytes()), image)


def test_texts_that_unpack_without_end_are_refused(tmp_path: Path) -> None:
    bomb = b"a\0\0" + zlib.compress(bytes(70 << 20), 9)
    data = png(levels(scene(1), 8), 8, 0, (b"zTXt", bomb))
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(AtelierError, match="64 MB; remove its metadata"):
        read_picture(tmp_path / "bomb.png")


def test_no_text_can_pass_for_transparency(tmp_path: Path) -> None:
    """A text chunk of the name under which Pillow keeps what `tRNS` says."""
    data = png(levels(scene(3), 8), 8, 2, (b"tEXt", b"transparency\0zero"))
    (tmp_path / "a.png").write_bytes(data)
    batch = read_picture(tmp_path / "a.png")
    assert batch.alpha is None and batch.carried is not None
    assert batch.carried[0].text == {"transparency": "zero"}


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_bigtiff_keeps_its_exif(order: str, tmp_path: Path) -> None:
    tiff = Tiff(levels(scene(3), 16), 16, 2, order=order, is_big=True, tags={274: (6,)})
    (tmp_path / "a.tif").write_bytes(tiff.data())
    batch = read_picture(tmp_path / "a.tif")
    assert batch.images.shape == (1, 3, 37, 23)
    assert batch.carried is not None and batch.carried[0].exif is None
    Image.new("RGB", (4, 4)).save(tmp_path / "b.tif", big_tiff=True, description="a boat")
    (carried,) = read_picture(tmp_path / "b.tif").carried or ()
    exif = Image.Exif()
    exif.load(carried.exif or b"")
    assert exif[ExifTags.Base.ImageDescription] == "a boat"


def test_a_tiff_says_its_resolution(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    tags = Image.open(io.BytesIO(converted(tmp_path / "a.png", "tiff").data)).tag_v2  # type: ignore[attr-defined]
    assert (tags[282], tags[283], tags[296]) == (1, 1, 1)
    Image.new("RGB", (4, 4)).save(tmp_path / "b.png", dpi=(300, 300))
    tags = Image.open(io.BytesIO(converted(tmp_path / "b.png", "tiff").data)).tag_v2  # type: ignore[attr-defined]
    assert abs(float(tags[282]) - 300) < 0.1 and tags[296] == 2


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("quality", [92, 95, 100])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_grain_fits_into_a_jpeg(quality: int, mode: str, tmp_path: Path) -> None:
    shape = (400, 600) if mode == "L" else (400, 600, 3)
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "grain.png")
    batch = IEDT(**dict(read_picture(tmp_path / "grain.png")), enhancement=make_enhancement(1))
    (result,) = ImageConverter().convert([batch], ICS(format="jpeg", quality=quality))
    assert np.asarray(Image.open(io.BytesIO(result.data))).shape == shape


def rows(height: int) -> Iterator[int]:
    yield from (0, height // 2, height - 1)


def test_a_picture_of_many_blocks_is_written_whole(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 256, (3000, 700, 3), dtype=np.uint8)
    Image.fromarray(numbers).save(tmp_path / "a.png", compress_level=1)
    result = converted(tmp_path / "a.png", "tiff")
    found = np.asarray(Image.open(io.BytesIO(result.data)))
    for row in rows(3000):
        np.testing.assert_array_equal(found[row], numbers[row])
    np.testing.assert_array_equal(found, numbers)


# ---------------------------------------------------------------- what a record proves


def test_a_record_in_a_file_is_a_claim_whatever_it_says(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    first = converted(tmp_path / "a.png", "png")
    assert not first.record.is_claim
    (tmp_path / "b.png").write_bytes(first.data)
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", Image.open(tmp_path / "b.png").info["xmp"].decode())
    Image.new("RGB", (8, 8), "red").save(tmp_path / "forged.png", pnginfo=texts)
    claimed = read_record(tmp_path / "forged.png")
    assert claimed.is_claim
    second = converted(tmp_path / "forged.png", "webp")
    assert second.record.source == claimed and not second.record.is_claim
    (tmp_path / "c.webp").write_bytes(second.data)
    third = read_record(tmp_path / "c.webp")
    assert third.is_claim and third.source is not None and third.source.is_claim


def test_several_frames_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "atelier")
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green")]
    for name in ("a.gif", "b.webp", "c.png", "d.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        read_picture(tmp_path / name)
        assert f"{name}: holds several frames or pages; the first is taken" in warnings_in(caplog)


def test_a_file_far_longer_than_its_picture_is_refused_unread(tmp_path: Path) -> None:
    """The file is one byte too long, and sparse, so that it takes no room on the disk."""
    path = tmp_path / "long.png"
    Image.new("RGB", (8, 8), "red").save(path)
    most = 8 * 8 * 16 + (256 << 20)
    os.truncate(path, most + 1)
    tracemalloc.start()
    with pytest.raises(AtelierError, match=f"is {most + 1:,} bytes long"):
        read_picture(path)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_a_file_of_gigabytes_is_never_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "disk.png"
    Image.new("RGB", (8, 8), "red").save(path)
    os.truncate(path, (2 << 30) + 1)
    with pytest.raises(AtelierError, match="longer than 2 GiB"):
        read_record(path)
