"""Conversion: files that any program reads back as meant, and that say what they are."""

import io
import json
import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms

from components.conversion import ImageConverter, create, read_picture, read_record
from interfaces.batch import Carried
from interfaces.errors import AtelierError, RefusedError
from interfaces.ics import ICS
from interfaces.iedt import IEDT
from interfaces.iodt import IODT
from interfaces.record import EnhancementRecord, Record
from tests.helpers import (
    REPOSITORY,
    as_claimed,
    digest,
    make_enhancement,
    make_file_origin,
    make_iedt,
    make_images,
    make_origin,
)

FORMATS = ["png", "jpeg", "webp", "avif", "tiff"]
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
SOURCE_TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
CREATOR_TOOL = "{http://ns.adobe.com/xap/1.0/}CreatorTool"
VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY_PROFILE = SRGB[:16] + b"GRAY" + SRGB[20:]
CMYK_PROFILE = SRGB[:16] + b"CMYK" + SRGB[20:]

network = EnhancementRecord(
    enhancer="RealESRGAN_x4plus", weights_sha256=digest("w"), scale=4, strength=1.0
)


def convert(batch: IEDT, **chosen: Any) -> IODT:
    (result,) = ImageConverter().convert([batch], ICS(**chosen))
    return result


def own_file(
    images: np.ndarray | None = None,
    alpha: np.ndarray | None = None,
    enhancement: EnhancementRecord | None = None,
    name: str = "a picture.png",
    **carried: Any,
) -> IEDT:
    """A batch of one: a person's own file, with what it carried."""
    return IEDT(
        images=make_images(1, 24) if images is None else images,
        alpha=alpha,
        origins=(make_file_origin(name),),
        carried=(Carried(**carried),),
        enhancement=enhancement or make_enhancement(),
    )


def opened(result: IODT) -> Image.Image:
    image = Image.open(io.BytesIO(result.data))
    image.load()
    return image


def packet_of(result: IODT) -> ElementTree.Element:
    """The XMP packet as an XML parser that is not ours to choose would find it."""
    image = opened(result)
    xmp = image.getexif().get(700) if image.format == "TIFF" else image.info["xmp"]
    return ElementTree.fromstring(xmp)


def stated(result: IODT, name: str = SOURCE_TYPE) -> list[str | None]:
    """Every value of a property, however RDF writes it."""
    root = packet_of(result)
    return [element.text for element in root.iter(name)] + [
        element.attrib[name] for element in root.iter(RDF + "Description") if name in element.attrib
    ]


def levels(images: np.ndarray, peak: int) -> np.ndarray:
    """(1, 3, H, W) in [-1, 1] => the levels (H, W, 3) that a file should hold."""
    exact = (images[0].astype(np.float64) + 1) / 2 * peak
    return np.rint(exact).transpose(1, 2, 0)


# ---------------------------------------------------------------- pixels


def every_level(peak: int) -> np.ndarray:
    """Each level that a file can hold, as a float picture (1, 3, H, W)."""
    ramp = np.arange(peak + 1, dtype=np.float64).reshape(16, -1) / peak * 2 - 1
    return np.stack([ramp, ramp[::-1], ramp[:, ::-1]])[None].astype(np.float32)


@pytest.mark.parametrize(
    "chosen", [{"format": "png"}, {"format": "tiff"}, {"format": "webp", "lossless": True}]
)
def test_every_level_of_eight_bits_comes_back(chosen: dict[str, Any]) -> None:
    images = every_level(255)
    result = convert(own_file(images), **chosen)
    np.testing.assert_array_equal(np.asarray(opened(result)), levels(images, 255))


@pytest.mark.parametrize("name", ["png", "tiff"])
def test_every_level_of_sixteen_bits_comes_back(name: str) -> None:
    images = every_level(65535)
    result = convert(own_file(images, bit_depth=16), format=name)
    read = cv2.imdecode(np.frombuffer(result.data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read[..., ::-1], levels(images, 65535))


@pytest.mark.parametrize("name", ["png", "tiff"])
def test_sixteen_bits_of_grey_stay_grey(name: str) -> None:
    grey = every_level(65535)[:, :1].repeat(3, axis=1)
    result = convert(own_file(grey, bit_depth=16, mode="I;16"), format=name)
    image = opened(result)
    assert image.mode == "I;16"
    np.testing.assert_array_equal(np.asarray(image), levels(grey, 65535)[..., 0])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("name", ["png", "tiff"])
def test_sixteen_bits_keep_their_alpha(name: str, mode: str) -> None:
    grey = make_images(1, 24)[:, :1].repeat(3, axis=1)
    alpha = np.random.default_rng(0).random((1, 1, 24, 24), dtype=np.float32)
    batch = own_file(grey, alpha, bit_depth=16, mode=mode, icc_profile=SRGB)
    result = convert(batch, format=name)
    read = cv2.imdecode(np.frombuffer(result.data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert (read.dtype, read.shape) == (np.uint16, (24, 24, 4))
    np.testing.assert_array_equal(read[..., :3], levels(grey, 65535))
    np.testing.assert_array_equal(read[..., 3], np.rint(alpha[0, 0] * 65535.0))
    assert opened(result).info["icc_profile"] == SRGB
    assert read_record_of(result) == result.record


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif"])
def test_lossy_formats_stay_near(name: str) -> None:
    smooth = np.linspace(-1, 1, 64, dtype=np.float32)
    x, y = np.meshgrid(smooth, smooth)
    images = np.stack([x, y, (x + y) / 2])[None]
    for quality, floor in ((50, 30), (92, 38)):
        result = convert(own_file(images), format=name, quality=quality)
        error = np.asarray(opened(result), np.float64) - levels(images, 255)
        peak_signal_to_noise = 10 * np.log10(255**2 / np.mean(error**2))
        assert peak_signal_to_noise > floor


@pytest.mark.parametrize("name", ["png", "webp", "avif", "tiff"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_kept(name: str, mode: str) -> None:
    alpha = np.linspace(0, 1, 24 * 24, dtype=np.float32).reshape(1, 1, 24, 24)
    result = convert(own_file(alpha=alpha, mode=mode), format=name, quality=100)
    read = np.asarray(opened(result).getchannel("A"), np.float64)
    tolerance = 1 if name == "avif" else 0
    np.testing.assert_allclose(read, np.rint(alpha[0, 0] * 255.0), atol=tolerance)


def test_jpeg_shows_white_where_nothing_is() -> None:
    images = np.full((1, 3, 32, 32), -1, np.float32)
    alpha = np.ones((1, 1, 32, 32), np.float32)
    alpha[..., :16] = 0
    alpha[..., 24:] = 0.5
    read = np.asarray(opened(convert(own_file(images, alpha, mode="RGBA"), format="jpeg")))
    assert np.abs(read[:, :14].astype(int) - 255).max() <= 4
    assert np.abs(read[:, 18:22].astype(int)).max() <= 8
    assert np.abs(read[:, 26:].astype(int) - 128).max() <= 8


@pytest.mark.parametrize("name,mode", [("png", "L"), ("jpeg", "L"), ("tiff", "L")])
def test_grey_stays_grey(name: str, mode: str) -> None:
    grey = every_level(255)[:, :1].repeat(3, axis=1)
    image = opened(convert(own_file(grey, mode="L"), format=name, quality=100))
    assert image.mode == mode
    error = np.asarray(image, np.float64) - levels(grey, 255)[..., 0]
    assert np.abs(error).max() <= (0 if name != "jpeg" else 2)


def test_large_tiffs_have_many_strips_and_other_programs_read_them() -> None:
    images = make_images(1, 400)
    result = convert(own_file(images), format="tiff")
    with tifffile.TiffFile(io.BytesIO(result.data)) as file:
        assert len(file.pages[0].dataoffsets) > 1
        np.testing.assert_array_equal(file.pages[0].asarray(), levels(images, 255))
    np.testing.assert_array_equal(np.asarray(opened(result)), levels(images, 255))


def test_a_picture_of_one_pixel() -> None:
    for name in FORMATS:
        assert opened(convert(own_file(make_images(1, 1)), format=name)).size == (1, 1)


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif"])
def test_a_picture_too_high_for_the_format_is_one_line(name: str) -> None:
    with pytest.raises(AtelierError, match=rf"1x70000 does not fit into a {name} file.*png$"):
        convert(own_file(np.zeros((1, 3, 70_000, 1), np.float32)), format=name)


sizes = st.integers(1, 40)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([("png", 8), ("png", 16), ("tiff", 8), ("tiff", 16), ("webp", 8)]),
    sizes,
    sizes,
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_what_is_lossless_comes_back_at_any_size(
    written: tuple[str, int], width: int, height: int, has_alpha: bool, seed: int
) -> None:
    name, depth = written
    rng = np.random.default_rng(seed)
    images = rng.uniform(-1, 1, (1, 3, height, width)).astype(np.float32)
    alpha = rng.random((1, 1, height, width), dtype=np.float32) if has_alpha else None
    batch = own_file(images, alpha, bit_depth=depth, mode="RGBA" if has_alpha else "RGB")
    result = convert(batch, format=name, lossless=True)
    peak = 2.0**depth - 1
    exact = (images[0].astype(np.float64) + 1) / 2 * peak
    if alpha is not None:
        exact = np.concatenate([exact, alpha[0].astype(np.float64) * peak])
    if depth == 16 and name == "tiff":
        read = tifffile.imread(io.BytesIO(result.data))
    elif depth == 16:
        read = cv2.imdecode(np.frombuffer(result.data, np.uint8), cv2.IMREAD_UNCHANGED)
        read = read[..., [2, 1, 0, 3][: read.shape[2]]]
    else:
        read = np.asarray(opened(result))
    # The nearest level, or either of two where float32 cannot say which is nearer.
    assert np.abs(read - exact.transpose(1, 2, 0)).max() <= 0.51
    assert read_record_of(result) == result.record


@pytest.mark.parametrize("mode,depth", [("RGB", 8), ("RGB", 16), ("RGBA", 16), ("I;16", 16)])
def test_a_png_is_sound_chunk_by_chunk(mode: str, depth: int) -> None:
    alpha = np.full((1, 1, 24, 24), 0.5, np.float32) if mode == "RGBA" else None
    batch = own_file(
        *(None, alpha),
        **{"bit_depth": depth, "mode": mode, "exif": exif_block(), "text": {"a": "b"}},
        icc_profile=GREY_PROFILE if mode == "I;16" else SRGB,
    )
    data = convert(batch).data
    names, position = [], 8
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        chunk = data[position + 4 : position + 8 + length]
        checksum = data[position + 8 + length : position + 12 + length]
        assert zlib.crc32(chunk) == int.from_bytes(checksum, "big")
        names.append(chunk[:4])
        position += 12 + length
    assert names[0] == b"IHDR"
    assert names[-1] == b"IEND"
    # Readers that stop at the first pixel have seen all else.
    assert set(names[1 : names.index(b"IDAT")]) == {b"iCCP", b"iTXt", b"eXIf", b"caBX"}
    assert set(names[names.index(b"IDAT") : -1]) == {b"IDAT"}


def test_a_picture_too_wide_for_the_format_is_named() -> None:
    wide = np.zeros((1, 3, 1, 16384), np.float32)
    with pytest.raises(AtelierError, match=r"16384x1.*webp.*png"):
        convert(own_file(wide), format="webp")
    assert convert(own_file(wide), format="png").width == 16384


# ---------------------------------------------------------------- the record and the statement


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_carries_the_record_and_says_that_it_is_generated(
    name: str, tmp_path: Path
) -> None:
    result = convert(make_iedt(1), format=name)
    path = tmp_path / "x"
    path.write_bytes(result.data)
    assert read_record(path) == as_claimed(result.record)
    assert stated(result) == [VOCABULARY + "trainedAlgorithmicMedia"]
    assert stated(result, CREATOR_TOOL) == [result.record.software]
    assert result.record.software.startswith("atelier ")


def read_record_of(result: IODT) -> Record:
    with Image.open(io.BytesIO(result.data)) as image:
        xmp = image.getexif().get(700) if image.format == "TIFF" else image.info["xmp"]
    (text,) = [
        element.text
        for element in ElementTree.fromstring(xmp).iter()
        if element.tag.endswith("}Record")
    ]
    assert text is not None
    return Record.model_validate_json(text)


@pytest.mark.parametrize("name", FORMATS)
def test_pillow_reads_the_packet(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Pillow asks for a parser that withstands hostile packets; this one is ours.
    monkeypatch.setattr(Image, "ElementTree", ElementTree)
    result = convert(make_iedt(1), format=name)
    rdf = opened(result).getxmp()["xmpmeta"]["RDF"]["Description"]
    assert rdf["DigitalSourceType"] == VOCABULARY + "trainedAlgorithmicMedia"
    assert Record.model_validate_json(rdf["Record"]) == result.record


@pytest.mark.parametrize("name", FORMATS)
def test_text_that_neither_xml_nor_utf_8_can_hold_comes_back(name: str, tmp_path: Path) -> None:
    odd = {"quotes": "\"'<&>]]>", "controls": "\0\x01\x1b\r\n\t\x7f\ufffe", "half": "\ud800 \udcff"}
    told = {"options": odd, "style": "Кіт 🐈 \u202e", "prompt": odd["half"]}
    origin = make_origin().model_copy(update=told | {"family": odd["controls"]})
    enhancement = make_enhancement().model_copy(update={"enhancer": odd["controls"]})
    changed = {"origins": (origin,), "enhancement": enhancement}
    result = convert(make_iedt(1).model_copy(update=changed), format=name)
    (tmp_path / "x").write_bytes(result.data)
    assert read_record(tmp_path / "x") == as_claimed(result.record)
    assert (result.record.origin, result.record.enhancement) == (origin, enhancement)


def test_a_record_that_another_program_wrote_as_an_attribute_is_read(tmp_path: Path) -> None:
    """Adobe's toolkit writes simple properties as attributes when it saves a packet anew."""
    result = convert(make_iedt(1))
    text = quoteattr(result.record.model_dump_json())
    xmp = foreign_packet(f'xmlns:a="urn:atelier:record:1" a:Record={text}')
    Image.new("RGB", (4, 4)).save(tmp_path / "x.webp", xmp=xmp)
    assert read_record(tmp_path / "x.webp") == as_claimed(result.record)
    again = convert(own_file(xmp=xmp))
    assert again.record.source == as_claimed(result.record)
    assert read_record_of(again) == again.record


anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
options = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | anything,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(anything, inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(FORMATS), anything, anything, st.dictionaries(anything, options, max_size=2))
def test_whatever_the_record_says_comes_back(
    name: str, style: str, dataset: str, chosen: dict[str, Any]
) -> None:
    origin = make_origin(2**63 - 1).model_copy(
        update={"style": style, "dataset_name": dataset, "options": chosen}
    )
    batch = make_iedt(1, 8).model_copy(update={"origins": (origin,)})
    result = convert(batch, format=name)
    assert read_record_of(result) == result.record
    assert result.record.origin == origin


@pytest.mark.parametrize(
    "enhancement,declared,expected",
    [
        (network, None, "compositeWithTrainedAlgorithmicMedia"),
        (network, "digitalCapture", "compositeWithTrainedAlgorithmicMedia"),
        (make_enhancement(4), None, "algorithmicallyEnhanced"),
        (make_enhancement(4), "digitalCapture", "algorithmicallyEnhanced"),
        (make_enhancement(1), None, None),
        (make_enhancement(1), "digitalCapture", "digitalCapture"),
        (make_enhancement(4), "trainedAlgorithmicMedia", "trainedAlgorithmicMedia"),
        (make_enhancement(1), "trainedAlgorithmicMedia", "trainedAlgorithmicMedia"),
        (network, "trainedAlgorithmicMedia", "trainedAlgorithmicMedia"),
        (
            make_enhancement(4),
            "compositeWithTrainedAlgorithmicMedia",
            "compositeWithTrainedAlgorithmicMedia",
        ),
    ],
)
@pytest.mark.parametrize("way", ["element", "attribute", "resource", "https"])
def test_what_a_persons_own_file_states(
    enhancement: EnhancementRecord, declared: str | None, expected: str | None, way: str
) -> None:
    xmp = None
    if declared is not None:
        uri = VOCABULARY + declared
        attribute, element = {
            "element": (
                "",
                f"<Iptc4xmpExt:DigitalSourceType> {uri}\n</Iptc4xmpExt:DigitalSourceType>",
            ),
            "attribute": (f'Iptc4xmpExt:DigitalSourceType="{uri}"', ""),
            "resource": ("", f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{uri}"/>'),
            "https": (f'Iptc4xmpExt:DigitalSourceType="{uri.replace("http:", "https:")}"', ""),
        }[way]
        xmp = foreign_packet(attribute, element)
    result = convert(own_file(enhancement=enhancement, xmp=xmp))
    assert stated(result) == ([] if expected is None else [VOCABULARY + expected])
    assert result.record.is_ai_generated == (expected == "trainedAlgorithmicMedia")


@pytest.mark.parametrize("name", FORMATS)
def test_a_generated_file_that_is_converted_stays_one_and_keeps_its_record(
    name: str, tmp_path: Path
) -> None:
    first = convert(make_iedt(1))
    (tmp_path / "a.png").write_bytes(first.data)
    for count, target in enumerate([name, "png"], start=1):
        picture = read_picture(next(tmp_path.iterdir()))
        batch = IEDT(**dict(picture), enhancement=make_enhancement(1))
        result = convert(batch, format=target)
        next(tmp_path.iterdir()).unlink()
        (tmp_path / f"a.{target}").write_bytes(result.data)
        assert stated(result) == [VOCABULARY + "trainedAlgorithmicMedia"]
        assert result.record.is_ai_generated
        assert result.record.origin.kind == "file"
        ancestor: Record | None = result.record
        for _ in range(count):
            assert ancestor is not None
            ancestor = ancestor.source
        assert ancestor == as_claimed(first.record)


def test_the_same_request_unsigned_gives_the_same_bytes_after_any_other() -> None:
    batch = own_file(xmp=foreign_packet(), exif=exif_block(), icc_profile=SRGB, text={"a": "b"})
    before = [convert(batch, format=name, sign=False).data for name in FORMATS]
    strange = foreign_packet().replace(b"dc:", b"xmp:").replace(b"xmlns:dc", b"xmlns:xmp")
    convert(own_file(xmp=strange))
    assert [convert(batch, format=name, sign=False).data for name in FORMATS] == before


def test_another_process_writes_the_same_bytes_unsigned() -> None:
    program = """
import hashlib
from components.conversion import ImageConverter
from interfaces.ics import ICS
from tests.helpers import make_iedt
for name in ("png", "jpeg", "webp", "avif", "tiff"):
    for result in ImageConverter().convert([make_iedt(2, 40)], ICS(format=name, sign=False)):
        print(hashlib.sha256(result.data).hexdigest())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": "1"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    here = [
        result.sha256
        for name in FORMATS
        for result in ImageConverter().convert([make_iedt(2, 40)], ICS(format=name, sign=False))
    ]
    assert done.stdout.split() == here


# ---------------------------------------------------------------- what people's own files carry


def foreign_packet(attribute: str = "", element: str = "") -> bytes:
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 <rdf:RDF>
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:mine="urn:x:mine" mine:mood="blue &amp; &lt;calm&gt;" {attribute}>
   <dc:title><rdf:Alt><rdf:li xml:lang="uk">Назва &amp; "вид"</rdf:li></rdf:Alt></dc:title>
   {element}
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()


def exif_block() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "A. Painter"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2020:01:02 03:04:05"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    return exif.tobytes()


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("name", FORMATS)
def test_profile_exif_and_xmp_go_with_the_picture(name: str, depth: int) -> None:
    batch = own_file(
        bit_depth=depth, icc_profile=SRGB, exif=exif_block(), xmp=foreign_packet(), text={"a": "b"}
    )
    result = convert(batch, format=name)
    image = opened(result)
    assert image.info["icc_profile"] == SRGB
    exif = image.getexif()
    assert exif[ExifTags.Base.Artist] == "A. Painter"
    details = exif.get_ifd(ExifTags.IFD.Exif)
    assert details[ExifTags.Base.DateTimeOriginal] == "2020:01:02 03:04:05"
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
    assert stated(result, "{urn:x:mine}mood") == ["blue & <calm>"]
    (title,) = packet_of(result).iter(RDF + "li")
    assert title.text == 'Назва & "вид"'
    assert title.attrib == {"{http://www.w3.org/XML/1998/namespace}lang": "uk"}
    assert read_record_of(result) == result.record


def test_the_first_tool_stays_the_creator_of_a_persons_own_file() -> None:
    tool = '<xmp:CreatorTool xmlns:xmp="http://ns.adobe.com/xap/1.0/">Krita</xmp:CreatorTool>'
    result = convert(own_file(xmp=foreign_packet(element=tool)))
    assert stated(result, CREATOR_TOOL) == ["Krita"]


@pytest.mark.parametrize(
    "tool",
    [
        '<xmp:CreatorTool xmlns:xmp="http://ns.adobe.com/xap/1.0/"/>',
        '<xmp:CreatorTool xmlns:xmp="http://ns.adobe.com/xap/1.0/"> </xmp:CreatorTool>',
    ],
)
def test_an_empty_creator_is_filled_and_not_doubled(tool: str) -> None:
    result = convert(own_file(xmp=foreign_packet(element=tool)))
    assert stated(result, CREATOR_TOOL) == [result.record.software]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("profile", [CMYK_PROFILE, GREY_PROFILE, b"", b"short"])
def test_a_profile_of_other_colours_is_not_attached(name: str, profile: bytes) -> None:
    assert not opened(convert(own_file(icc_profile=profile), format=name)).info.get("icc_profile")


@pytest.mark.parametrize("name", ["png", "jpeg", "tiff"])
def test_a_grey_picture_keeps_its_grey_profile(name: str) -> None:
    kept = convert(own_file(mode="L", icc_profile=GREY_PROFILE), format=name)
    assert opened(kept).info["icc_profile"] == GREY_PROFILE
    refused = convert(own_file(mode="L", icc_profile=SRGB), format=name)
    assert not opened(refused).info.get("icc_profile")


@pytest.mark.parametrize("name", ["webp", "avif"])
def test_a_grey_profile_does_not_go_with_colours(name: str) -> None:
    result = convert(own_file(mode="L", icc_profile=GREY_PROFILE), format=name)
    assert not opened(result).info.get("icc_profile")


@pytest.mark.parametrize("depth", [8, 16])
def test_the_texts_of_a_png_stay_in_a_png(depth: int) -> None:
    texts = {"parameters": "cat, Steps: 20", "Назва": "no keyword", "Title": "Кіт 🐈", "": "none"}
    texts |= {"x" * 80: "too long", "XML:com.adobe.xmp": "<not-the-packet/>"}
    image = opened(convert(own_file(text=texts, bit_depth=depth)))
    assert image.text["parameters"] == "cat, Steps: 20"  # type: ignore[attr-defined]
    assert image.text["Title"] == "Кіт 🐈"  # type: ignore[attr-defined]
    assert set(image.text) == {"parameters", "Title", "XML:com.adobe.xmp"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "carried",
    [
        {"xmp": b"junk"},
        {"xmp": b"<a/>"},
        {"xmp": foreign_packet()[:300]},
        {"xmp": b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'},
        {"xmp": foreign_packet().decode().replace("utf-8", "utf-16").encode("utf-16")},
        {"exif": b"junk"},
        {"exif": b"Exif\0\0junk"},
        {"exif": exif_block()[:-20]},
        {"exif": b""},
    ],
)
def test_damaged_metadata_stops_nothing(name: str, carried: dict[str, bytes]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = convert(own_file(**carried), format=name)
        image = opened(result)
        image.getexif()
    assert image.size == (24, 24)
    assert read_record_of(result) == result.record


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        r.getMessage() for r in caplog.records if r.name == "atelier" and r.levelname == "WARNING"
    ]


BOMB = b"""<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">%s]><x>&e9;</x>""" % b"".join(
    b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10 if n else b"&a;" * 10) for n in range(10)
)
IN_HTML = b'<html><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns"/></html>'


@pytest.mark.parametrize(
    "xmp",
    [
        b"",
        b"junk",
        b"<a/>",
        IN_HTML,
        BOMB,
        BOMB.decode().encode("utf-16"),
        foreign_packet()[:300],
        foreign_packet().decode().encode("utf-16"),
        foreign_packet(element="<dc:a>" * 20_000 + "</dc:a>" * 20_000),
    ],
)
def test_hostile_xmp_is_left_out_with_a_warning(
    xmp: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    result = convert(own_file(xmp=xmp, name="odd.png"), sign=False)
    (warning,) = warnings_in(caplog)
    assert warning.startswith("odd.png: its own XMP metadata is left out (")
    assert "\n" not in warning
    assert result.data == convert(own_file(name="odd.png"), sign=False).data


@pytest.mark.parametrize("name", FORMATS)
def test_xmp_over_what_a_jpeg_can_hold_is_left_out_of_it_alone(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    declared = VOCABULARY + "compositeWithTrainedAlgorithmicMedia"
    long = foreign_packet(
        f'Iptc4xmpExt:DigitalSourceType="{declared}"', f"<dc:rights>{'x' * 70_000}</dc:rights>"
    )
    result = convert(own_file(xmp=long, name="photo.png"), format=name)
    assert read_record_of(result) == result.record
    assert stated(result) == [declared]
    assert bool(stated(result, "{urn:x:mine}mood")) == (name != "jpeg")
    expected = "photo.png: its own XMP metadata is left out (too long for a jpeg file)"
    assert warnings_in(caplog) == ([expected] if name == "jpeg" else [])


def test_xmp_that_just_fits_a_jpeg_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    def file(length: int) -> IEDT:
        rights = f"<dc:rights>{'x' * length}</dc:rights>"
        return own_file(xmp=foreign_packet(element=rights), name="photo.png")

    png = convert(file(60_000), format="png")
    # The record names the format: "jpeg" is a letter longer.
    room = 65_504 - len(opened(png).info["xmp"]) - 1
    assert len(opened(convert(file(60_000 + room), format="jpeg")).info["xmp"]) == 65_504
    assert warnings_in(caplog) == []
    convert(file(60_001 + room), format="jpeg")
    assert len(warnings_in(caplog)) == 1


# ---------------------------------------------------------------- pixels an inch


def source_with_dpi(kind: str, dpi: tuple[float, float], folder: Path) -> Path:
    """A file that states its resolution where its format does, and nowhere else."""
    path = folder / f"scan.{kind.partition('-')[0]}"
    image = Image.effect_noise((9, 7), 60).convert("RGB")
    exif = Image.Exif()
    if kind == "jpg-exif":
        exif[ExifTags.Base.XResolution], exif[ExifTags.Base.YResolution] = dpi
        exif[ExifTags.Base.ResolutionUnit] = 2
        image.save(path, exif=exif)
    elif kind == "tif-centimetres":
        per_centimetre = {"x_resolution": dpi[0] / 2.54, "y_resolution": dpi[1] / 2.54}
        image.save(path, resolution_unit=3, **per_centimetre)
    else:
        image.save(path, dpi=dpi)
    return path


def dpi_of(result: IODT) -> tuple[float, float]:
    """Resolution as another program finds it: in EXIF where the format has no place of its own."""
    image = opened(result)
    if image.format in ("PNG", "JPEG", "TIFF"):
        return tuple(map(float, image.info["dpi"]))
    exif = image.getexif()
    assert exif[ExifTags.Base.ResolutionUnit] == 2
    return float(exif[ExifTags.Base.XResolution]), float(exif[ExifTags.Base.YResolution])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", ["png", "jpg", "jpg-exif", "tif", "tif-centimetres"])
def test_pixels_an_inch_are_kept_from_every_format_in_every_format(
    kind: str, name: str, tmp_path: Path
) -> None:
    batch = read_picture(source_with_dpi(kind, (300, 150), tmp_path))
    assert batch.carried is not None
    for depth in (8, 16):
        carried = batch.carried[0].model_copy(update={"bit_depth": depth})
        result = convert(own_file(batch.images, **dict(carried)), format=name)
        np.testing.assert_allclose(dpi_of(result), (300, 150), atol=0.1)


def test_a_picture_turned_upright_turns_its_resolution_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (9, 7)).save(tmp_path / "side.jpg", dpi=(300, 150), exif=exif)
    batch = read_picture(tmp_path / "side.jpg")
    assert batch.images.shape[2:] == (9, 7) and batch.carried is not None
    result = convert(own_file(batch.images, **dict(batch.carried[0])), format="png")
    np.testing.assert_allclose(dpi_of(result), (150, 300), atol=0.1)


@pytest.mark.parametrize("kind", ["none", "ratio", "zero", "exif without"])
def test_no_resolution_is_made_up(kind: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "A. Painter"
    given_tags = {"exif": exif} if kind == "exif without" else {}
    if kind == "zero":
        exif[ExifTags.Base.XResolution] = exif[ExifTags.Base.YResolution] = 0
        exif[ExifTags.Base.ResolutionUnit] = 2
        given_tags = {"exif": exif}
    path = tmp_path / "plain.jpg"
    Image.new("RGB", (9, 7)).save(path, **given_tags)
    if kind == "ratio":  # JFIF's density with unit 0: two to one, of nothing
        data = bytearray(path.read_bytes())
        at = data.index(b"JFIF\0") + 7
        data[at : at + 5] = struct.pack(">BHH", 0, 2, 1)
        path.write_bytes(data)
    batch = read_picture(path)
    assert batch.carried is not None
    result = convert(own_file(batch.images, **dict(batch.carried[0])), format="png")
    image = opened(result)
    assert "dpi" not in image.info
    assert ExifTags.Base.XResolution not in image.getexif()


@pytest.mark.parametrize("name", FORMATS)
def test_exif_over_what_a_jpeg_can_hold_is_left_out_of_it_alone(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "A" * 70_000
    image = opened(convert(own_file(exif=exif.tobytes(), name="photo.png"), format=name))
    assert (ExifTags.Base.Artist in image.getexif()) == (name != "jpeg")
    assert len(warnings_in(caplog)) == (name == "jpeg")


def test_exif_does_not_change_how_a_tiff_lies_in_its_file() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "A. Painter"
    exif[ExifTags.Base.Rating] = 4
    for tag in (254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 322, 339):
        exif[tag] = 7
    exif[50706] = b"\1\4\0\0"  # claims to be a raw negative
    images = make_images(1, 24)
    result = convert(own_file(images, exif=exif.tobytes()), format="tiff")
    np.testing.assert_array_equal(np.asarray(opened(result)), levels(images, 255))
    read = opened(result).getexif()
    assert (read[ExifTags.Base.Artist], read[ExifTags.Base.Rating]) == ("A. Painter", 4)
    assert not {322, 339, 50706} & set(read)


def test_what_is_said_of_an_ingredient_is_not_said_of_the_picture() -> None:
    pantry = f"""<mine:Pantry><rdf:Bag><rdf:li><rdf:Description
      Iptc4xmpExt:DigitalSourceType="{VOCABULARY}trainedAlgorithmicMedia"
      /></rdf:li></rdf:Bag></mine:Pantry>"""
    batch = own_file(xmp=foreign_packet(element=pantry), enhancement=make_enhancement(1))
    result = convert(batch)
    assert not result.record.is_ai_generated
    assert stated(result) == [VOCABULARY + "trainedAlgorithmicMedia"]  # in the pantry, as it was


def test_every_description_is_about_the_same_picture() -> None:
    xmp = foreign_packet().replace(b'rdf:about=""', b'rdf:about="uuid:1"')
    about = [
        d.get(RDF + "about")
        for d in packet_of(convert(own_file(xmp=xmp))).iter(RDF + "Description")
    ]
    assert about == ["uuid:1", "uuid:1"]


# ---------------------------------------------------------------- reading back


def test_a_file_of_another_program_carries_no_record(tmp_path: Path) -> None:
    for name in FORMATS:
        path = tmp_path / f"x.{name}"
        Image.new("RGB", (4, 4)).save(path)
        with pytest.raises(AtelierError, match="carries no record"):
            read_record(path)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").touch()
    for name in ("text.png", "empty.png"):
        with pytest.raises(AtelierError, match=f"{name}: not an image"):
            read_record(tmp_path / name)
    for path in (tmp_path / "missing.png", tmp_path):
        with pytest.raises(AtelierError, match="cannot be read"):
            read_record(path)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    data = convert(make_iedt(1), format="webp").data
    (tmp_path / "x.webp").write_bytes(data.replace(b'"seed"', b'"sEEd"'))
    with pytest.raises(AtelierError, match="record is damaged"):
        read_record(tmp_path / "x.webp")


@pytest.mark.parametrize("name", FORMATS)
def test_reading_a_damaged_file_never_ends_in_a_traceback(name: str, tmp_path: Path) -> None:
    data = convert(make_iedt(1), format=name).data
    path = tmp_path / "x"

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, len(data) - 1), st.binary(max_size=4), st.booleans())
    def reads(position: int, noise: bytes, is_cut: bool) -> None:
        rest = b"" if is_cut else data[position + len(noise) :]
        path.write_bytes(data[:position] + noise + rest)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                json.dumps(read_record(path).model_dump(mode="json"))
            except AtelierError as error:
                assert "\n" not in str(error)

    reads()


@pytest.mark.parametrize("form", ["deep", "lone"])
def test_a_hostile_record_is_named(form: str, tmp_path: Path) -> None:
    text = '{"source":' * 100_000 if form == "deep" else "[]"
    xmp = foreign_packet(f'xmlns:a="urn:atelier:record:1" a:Record={quoteattr(text)}')
    Image.new("RGB", (4, 4)).save(tmp_path / "x.webp", xmp=xmp)
    with pytest.raises(AtelierError, match="record is damaged"):
        read_record(tmp_path / "x.webp")
    assert convert(own_file(xmp=xmp)).record.source is None


def test_the_record_is_read_without_a_pixel(tmp_path: Path) -> None:
    """A PNG that says it is 100 000 pixels square, and holds none, still tells its record."""
    result = convert(make_iedt(1))
    size = struct.pack(">II", 100_000, 100_000)
    header = b"IHDR" + size + result.data[24:29]
    start = result.data[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    pixels = result.data.index(b"IDAT")
    (tmp_path / "x.png").write_bytes(start + result.data[33 : pixels + 4])
    assert read_record(tmp_path / "x.png") == as_claimed(result.record)


def test_no_text_of_a_png_can_stand_for_the_packet(tmp_path: Path) -> None:
    result = convert(own_file(text={"xmp": foreign_packet().decode()}))
    (tmp_path / "x.png").write_bytes(result.data)
    assert read_record(tmp_path / "x.png") == as_claimed(result.record)


def test_the_door() -> None:
    assert isinstance(create(Path("anywhere")), ImageConverter)


@pytest.mark.parametrize("name", ["jpeg", "avif"])
def test_what_is_never_lossless_is_refused_as_such(name: str) -> None:
    with pytest.raises(RefusedError, match=f"^lossless: {name} is always written with loss"):
        convert(own_file(), format=name, lossless=True)


@pytest.mark.parametrize("chosen", [{"format": "png"}, {"format": "webp", "lossless": True}])
def test_a_quality_that_changes_nothing_is_said_to(
    chosen: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", "atelier"):
        convert(own_file(), **chosen)
        assert not caplog.messages
        convert(own_file(), **chosen, quality=50)
    assert caplog.messages == [
        "quality: has an effect only with a format that is written with loss"
    ]
