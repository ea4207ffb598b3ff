"""Captions as museums and photo agencies write them: IPTC-IIM 4.2, inside Photoshop's resources.

JPEG and TIFF have a place for them. In the other formats they are said in XMP, under the names that
the IPTC Photo Metadata Standard gives them; so they are in every format, beside the block where it
has its place.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple
from xml.etree import ElementTree

from components.conversion.xmp import DUBLIN_CORE, PHOTOSHOP, RDF

_RESOURCE, _IPTC = b"8BIM", 0x0404
_APP13 = b"Photoshop 3.0\0"
_MAX_SEGMENT_BYTES = 65_533  # of a JPEG, without its length
_APPLICATION_RECORD, _CHARSET, _UTF_8 = 2, (1, 90), b"\x1b%G"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


class _Property(NamedTuple):
    name: str  # as ElementTree has it
    container: str | None = None  # 'Alt', 'Bag' or 'Seq'; None: a simple text


# IIM data set => XMP property (IPTC Photo Metadata Standard 2023.2, mapping).
_PROPERTIES = {
    5: _Property(f"{{{DUBLIN_CORE}}}title", "Alt"),
    25: _Property(f"{{{DUBLIN_CORE}}}subject", "Bag"),
    40: _Property(f"{{{PHOTOSHOP}}}Instructions"),
    55: _Property(f"{{{PHOTOSHOP}}}DateCreated"),
    80: _Property(f"{{{DUBLIN_CORE}}}creator", "Seq"),
    85: _Property(f"{{{PHOTOSHOP}}}AuthorsPosition"),
    90: _Property(f"{{{PHOTOSHOP}}}City"),
    95: _Property(f"{{{PHOTOSHOP}}}State"),
    101: _Property(f"{{{PHOTOSHOP}}}Country"),
    103: _Property(f"{{{PHOTOSHOP}}}TransmissionReference"),
    105: _Property(f"{{{PHOTOSHOP}}}Headline"),
    110: _Property(f"{{{PHOTOSHOP}}}Credit"),
    115: _Property(f"{{{PHOTOSHOP}}}Source"),
    116: _Property(f"{{{DUBLIN_CORE}}}rights", "Alt"),
    120: _Property(f"{{{DUBLIN_CORE}}}description", "Alt"),
    122: _Property(f"{{{PHOTOSHOP}}}CaptionWriter"),
}


def in_resources(resources: bytes) -> bytes | None:
    """The IPTC block among Photoshop's image resources; None where there is none."""
    position = 0
    while resources[position : position + 4] == _RESOURCE and position + 12 <= len(resources):
        (kind,) = struct.unpack_from(">H", resources, position + 4)
        start = position + 6 + (resources[position + 6] + 2) // 2 * 2  # a name of even length
        if start + 4 > len(resources):
            return None
        (size,) = struct.unpack_from(">I", resources, start)
        if kind == _IPTC:
            return resources[start + 4 : start + 4 + size]
        position = start + 4 + (size + 1) // 2 * 2
    return None


def jpeg_segment(block: bytes) -> bytes | None:
    """The block as a segment of a JPEG, marker and all; None where it is too long for one."""
    padded = block + bytes(len(block) % 2)
    content = _APP13 + _RESOURCE + struct.pack(">HHI", _IPTC, 0, len(block)) + padded
    if len(content) > _MAX_SEGMENT_BYTES:
        return None
    return b"\xff\xed" + struct.pack(">H", len(content) + 2) + content


def as_rdf(block: bytes, said: ElementTree.Element | None) -> ElementTree.Element | None:
    """The file's RDF with the block's captions that it lacks; None where neither says anything.

    `said` is the file's own RDF. What both say is left as XMP has it, the newer of the two.
    """
    found: dict[int, list[str]] = {}
    for number, text in _texts(block):
        if number in _PROPERTIES and text:
            found.setdefault(number, []).append(text)
    rdf = ElementTree.Element(f"{{{RDF}}}RDF") if said is None else said
    names = {child.tag for description in rdf for child in description}
    names |= {name for description in rdf for name in description.attrib}
    new = [number for number in found if _PROPERTIES[number].name not in names]
    if new:
        about = ElementTree.SubElement(rdf, f"{{{RDF}}}Description")
        for number in new:
            _say(about, _PROPERTIES[number], found[number])
    return rdf if len(rdf) else None


def _say(about: ElementTree.Element, said: _Property, texts: list[str]) -> None:
    element = ElementTree.SubElement(about, said.name)
    if said.container is None:
        element.text = texts[0]
        return
    items = ElementTree.SubElement(element, f"{{{RDF}}}{said.container}")
    for text in texts[:1] if said.container == "Alt" else texts:
        language = {_LANGUAGE: "x-default"} if said.container == "Alt" else {}
        ElementTree.SubElement(items, f"{{{RDF}}}li", language).text = text


def _texts(block: bytes) -> Iterator[tuple[int, str]]:
    """The data sets of the application record: number and text."""
    is_utf_8 = False
    for record, number, data in _data_sets(block):
        if (record, number) == _CHARSET:
            is_utf_8 = data == _UTF_8
        elif record == _APPLICATION_RECORD:
            yield number, _plain(data, is_utf_8)


def _plain(data: bytes, is_utf_8: bool) -> str:
    """The text, as XML can hold it. Many programs write UTF-8 and do not say so."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("utf-8" if is_utf_8 else "latin-1", errors="replace")
    return "".join(letter for letter in text if letter.isprintable() or letter in "\t\n\r").strip()


def _data_sets(block: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Record, data set and content, one after the other (IIM 4.2, 1.5); ends where damaged."""
    position = 0
    while block[position : position + 1] == b"\x1c" and position + 5 <= len(block):
        record, number, size = struct.unpack_from(">BBH", block, position + 1)
        start = position + 5
        if size & 0x8000:  # the size of the size
            digits = size & 0x7FFF
            size = int.from_bytes(block[start : start + digits], "big")
            start += digits
        yield record, number, block[start : start + size]
        position = start + size
