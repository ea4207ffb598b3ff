"""The conversion component: from floating point back to an image format."""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from xml.etree import ElementTree

import numpy as np

from components.common.images import float_to_levels
from components.conversion.encoding import MEDIA_TYPES, encode
from components.conversion.metadata import GREY_MODES, fitting, foreign_rdf
from components.conversion.signing import identity_for, signed
from components.conversion.watermark import check_watermark, marked
from components.conversion.xmp import GENERATED, declared_in, for_publishing, record_in
from interfaces.batch import Carried
from interfaces.contract import refuse_unless_offered
from interfaces.errors import RefusedError
from interfaces.ics import ICS
from interfaces.idle import Need, idle
from interfaces.iedt import IEDT
from interfaces.iodt import IODT
from interfaces.record import GeneratedOrigin, Record

_log = logging.getLogger("atelier")

_DEEP_FORMATS = {"png", "tiff"}
_BLOCK_PIXELS = 1 << 20
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's own "L"


class ImageConverter:
    """Encodes one image at a time. The port is `interfaces.iodt.Converter`."""

    def check(self, settings: ICS) -> None:
        """Refuse settings that could not be carried out, before anything is made.

        Raises `AtelierError` where the person's certificate cannot sign, and for a format that
        cannot be without loss where that was asked for, and for a watermark that cannot be written;
        makes a certificate where there is none.
        """
        _check_loss(settings)
        if settings.watermark is not None:
            check_watermark()
        identity_for(settings)

    def convert(self, batches: Iterable[IEDT], settings: ICS) -> Iterator[IODT]:
        """Encode every image of every batch, in order, each with its record inside.

        What a person's own file held goes with it: alpha (JPEG shows white there), 16 bits (PNG
        and TIFF), grey, ICC profile where it fits the colours written, EXIF, pixels an inch, XMP,
        and a PNG's texts into a PNG. A file that Atelier or another program had marked as
        AI-generated stays so, and its record becomes the new record's `source`. Metadata that
        cannot be read, or is too long for the format, is left out with a warning. A watermark is
        written where the settings ask for one. Last of all the file is signed, where they say so.
        Raises `RefusedError` for a format that is not known, for a picture that it cannot hold, and
        for one that is too small for a watermark; and what `check` raises.
        """
        refuse_unless_offered(settings, "convert")
        _check_loss(settings)
        for fault in _idle(settings):
            _log.warning("%s", fault)
        for batch in batches:
            for place in range(len(batch)):
                yield _convert(batch, place, settings)


def _check_loss(settings: ICS) -> None:
    if settings.lossless and settings.format in ("jpeg", "avif"):
        raise RefusedError(
            f"lossless: {settings.format} is always written with loss; choose png, tiff or webp, "
            "or leave lossless out"
        )


def _idle(settings: ICS) -> list[str]:
    """Settings that were chosen but have no effect, each in a sentence."""
    loses = settings.format in ("jpeg", "avif") or (
        settings.format == "webp" and not settings.lossless
    )
    return idle(settings, {"quality": Need("a format that is written with loss", loses)})


def _convert(batch: IEDT, place: int, settings: ICS) -> IODT:
    carried = batch.carried[place] if batch.carried else Carried()
    alpha = None if batch.alpha is None else batch.alpha[place]
    pixels = _pixels(batch.images[place], alpha, carried, settings)
    foreign = foreign_rdf(carried, batch.origins[place])
    if settings.publish:
        carried = carried.model_copy(update={"exif": None, "iptc": None, "text": {}})
        foreign = None if foreign is None else for_publishing(foreign)
    if settings.watermark is not None:
        pixels, name = marked(pixels, settings.watermark)
        settings = settings.model_copy(update={"watermark": name})
    record = _record(batch, place, foreign, settings)
    is_grey = pixels.shape[2] < 3
    metadata = fitting(record, carried, foreign, settings, is_grey=is_grey)
    media_type = MEDIA_TYPES[settings.format]
    encoded = encode(pixels, settings, metadata)
    data = signed(encoded, media_type, record, settings, carried.ingredients)
    return IODT(
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        media_type=media_type,
        width=pixels.shape[1],
        height=pixels.shape[0],
        record=record,
    )


def _record(batch: IEDT, place: int, foreign: ElementTree.Element | None, settings: ICS) -> Record:
    origin = batch.origins[place]
    declared = None if foreign is None else declared_in(foreign)
    record = Record(
        software=_software(),
        origin=origin,
        enhancement=batch.enhancement,
        conversion=settings.recorded(),
        is_ai_generated=isinstance(origin, GeneratedOrigin) or declared == GENERATED,
        source=None if foreign is None else _source(foreign),
        drift=batch.drift[place] if batch.drift else None,
    )
    return record.published() if settings.publish else record


def _source(foreign: ElementTree.Element) -> Record | None:
    try:
        return record_in(foreign)
    except (ValueError, RecursionError):  # damaged, or newer: nothing that this one can vouch for
        return None


@cache
def _software() -> str:
    try:
        return f"atelier {version('atelier')}"
    except PackageNotFoundError:
        return "atelier (not installed)"


def _pixels(
    image: np.ndarray, alpha: np.ndarray | None, carried: Carried, settings: ICS
) -> np.ndarray:
    """(3, H, W) in [-1, 1] and alpha (1, H, W) => (H, W, C), as many channels and bits as fit.

    Some rows at a time, so that a large picture is not held in floating point twice.
    """
    height, width = image.shape[1:]
    num_rows = max(1, _BLOCK_PIXELS // width)
    pixels: np.ndarray | None = None
    for y in range(0, height, num_rows):
        rows = slice(y, y + num_rows)
        opacity = None if alpha is None else alpha[:, rows]
        block = _block(image[:, rows], opacity, carried, settings)
        if pixels is None:
            pixels = np.empty((height, *block.shape[1:]), block.dtype)
        pixels[rows] = block
    assert pixels is not None
    return pixels


def _block(
    image: np.ndarray, alpha: np.ndarray | None, carried: Carried, settings: ICS
) -> np.ndarray:
    colours = (image + 1) / 2  # [-1, 1] => [0, 1]
    if alpha is not None and settings.format == "jpeg":
        colours, alpha = 1 + alpha * (colours - 1), None  # over white, as on a page
    is_deep = carried.bit_depth == 16 and settings.format in _DEEP_FORMATS
    if carried.mode in GREY_MODES:
        colours = np.tensordot(_LUMA, colours, axes=1)[None]
        # WebP and AVIF know no grey; and few programs, Pillow not among them, read grey of 16 bits
        # with alpha.
        if settings.format in ("webp", "avif") or (is_deep and alpha is not None):
            colours = colours.repeat(3, axis=0)
    planes = colours if alpha is None else np.concatenate([colours, alpha])
    return float_to_levels(planes, np.uint16 if is_deep else np.uint8)
