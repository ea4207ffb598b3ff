"""The XMP packet that every file carries: what made it, that it is AI-generated, and its record.

XMP (ISO 16684-1) is the one place for metadata that PNG, JPEG, WebP, AVIF and TIFF all have. The
statement is IPTC's Digital Source Type (IPTC Photo Metadata Standard; values from the NewsCodes
vocabulary http://cv.iptc.org/newscodes/digitalsourcetype/).
"""

import json
from xml.etree import ElementTree

from interfaces.record import FileOrigin, Record

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMP = "http://ns.adobe.com/xap/1.0/"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
ATELIER = "urn:atelier:record:1"
_META = "adobe:ns:meta/"

for _prefix, _uri in {
    "x": _META,
    "rdf": RDF,
    "xmp": XMP,
    "Iptc4xmpExt": IPTC,
    "atelier": ATELIER,
    "dc": "http://purl.org/dc/elements/1.1/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
}.items():
    ElementTree.register_namespace(_prefix, _uri)

_VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_SOURCE_TYPE = f"{{{IPTC}}}DigitalSourceType"
_TOOL = f"{{{XMP}}}CreatorTool"
_RECORD = f"{{{ATELIER}}}Record"
_OURS = {_SOURCE_TYPE, _TOOL, _RECORD}

_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_END = '\n<?xpacket end="w"?>'


def source_type(record: Record) -> str | None:
    """The IPTC value for a record; None where no algorithm made or altered the picture.

    A generated picture is trainedAlgorithmicMedia. A person's own picture that a network enlarged
    is compositeWithTrainedAlgorithmicMedia (IPTC: edited using generative AI), one that was plainly
    resampled is algorithmicallyEnhanced, and one that was only converted says nothing new.
    """
    if not isinstance(record.origin, FileOrigin):
        return _VOCABULARY + "trainedAlgorithmicMedia"
    if record.enhancement.weights_sha256 is not None:
        return _VOCABULARY + "compositeWithTrainedAlgorithmicMedia"
    if record.enhancement.scale > 1:
        return _VOCABULARY + "algorithmicallyEnhanced"
    return None


def packet(record: Record, foreign: bytes | None = None) -> bytes:
    """An XMP packet in UTF-8 with the record, and with all that a foreign packet says beside it.

    A foreign packet that is no readable RDF is left out.
    """
    root = _readable(foreign) if foreign else None
    if root is None:
        root = ElementTree.Element(f"{{{_META}}}xmpmeta")
    rdf = root if root.tag == f"{{{RDF}}}RDF" else root.find(f"{{{RDF}}}RDF")
    if rdf is None:
        rdf = ElementTree.SubElement(root, f"{{{RDF}}}RDF")
    _remove_ours(rdf)
    description = ElementTree.SubElement(rdf, f"{{{RDF}}}Description", {f"{{{RDF}}}about": ""})
    ElementTree.SubElement(description, _TOOL).text = record.software
    if (value := source_type(record)) is not None:
        ElementTree.SubElement(description, _SOURCE_TYPE).text = value
    # JSON in ASCII escapes what XML cannot hold: control characters, lone surrogates.
    text = json.dumps(record.model_dump(mode="json"), ensure_ascii=True, separators=(",", ":"))
    ElementTree.SubElement(description, _RECORD).text = text
    body = ElementTree.tostring(root, encoding="unicode")
    return (_BEGIN + body + _END).encode("utf-8")


def record_in(xmp: bytes) -> Record | None:
    """The record in a packet; None where there is none. Raises `ValueError` where it is damaged."""
    root = _readable(xmp)
    text = root.findtext(f".//{_RECORD}") if root is not None else None
    return None if text is None else Record.model_validate_json(text)


def _readable(xmp: bytes) -> ElementTree.Element | None:
    # A packet with its own document type could name entities; XMP never has one.
    if b"<!DOCTYPE" in xmp:
        return None
    try:
        return ElementTree.fromstring(xmp.strip(b"\0 \r\n\t\xef\xbb\xbf"))
    except (ElementTree.ParseError, ValueError):
        return None


def _remove_ours(rdf: ElementTree.Element) -> None:
    """What an earlier conversion said of the picture is replaced, not said twice."""
    for description in rdf.findall(f"{{{RDF}}}Description"):
        for name in _OURS:
            description.attrib.pop(name, None)
            for element in description.findall(name):
                description.remove(element)
        if not len(description) and set(description.attrib) <= {f"{{{RDF}}}about"}:
            rdf.remove(description)
