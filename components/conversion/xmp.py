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


_GENERATED = _VOCABULARY + "trainedAlgorithmicMedia"
_EDITED = _VOCABULARY + "compositeWithTrainedAlgorithmicMedia"  # IPTC: edited using generative AI
_RESAMPLED = _VOCABULARY + "algorithmicallyEnhanced"  # IPTC: altered without generative AI


def says_ai_generated(xmp: bytes) -> bool:
    """Whether a packet, of ours or of another program, states that a model made the picture."""
    root = _readable(xmp)
    return root is not None and _declared(root) == _GENERATED


def source_type(record: Record, declared: str | None = None) -> str | None:
    """The IPTC value for a record; `declared` is what a person's own file said of itself.

    A generated picture is trainedAlgorithmicMedia. A person's own picture that a network enlarged
    is compositeWithTrainedAlgorithmicMedia, one that was plainly resampled is
    algorithmicallyEnhanced, and one that was only converted stays what it said it was. No
    statement that generative AI took part is ever weakened.
    """
    if record.is_ai_generated:
        return _GENERATED
    if record.enhancement.weights_sha256 is not None or declared == _EDITED:
        return _EDITED
    return _RESAMPLED if record.enhancement.scale > 1 else declared


def packet(record: Record, foreign: bytes | None = None) -> bytes:
    """An XMP packet in UTF-8 with the record, and with all that a foreign packet says beside it.

    A foreign packet that is no readable RDF is left out. The tool that first made a person's own
    file stays its creator.
    """
    root = _readable(foreign) if foreign else None
    if root is None:
        root = ElementTree.Element(f"{{{_META}}}xmpmeta")
    rdf = root if root.tag == f"{{{RDF}}}RDF" else root.find(f"{{{RDF}}}RDF")
    if rdf is None:
        rdf = ElementTree.SubElement(root, f"{{{RDF}}}RDF")
    declared, tool = _declared(root), _property(root, _TOOL)
    _remove_ours(rdf)
    description = ElementTree.SubElement(rdf, f"{{{RDF}}}Description", {f"{{{RDF}}}about": ""})
    is_own_file = isinstance(record.origin, FileOrigin)
    ElementTree.SubElement(description, _TOOL).text = (is_own_file and tool) or record.software
    if (value := source_type(record, declared)) is not None:
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


def _declared(root: ElementTree.Element) -> str | None:
    # Both schemes are met in the wild; the vocabulary's own is http.
    value = _property(root, _SOURCE_TYPE)
    return value.replace("https://", "http://", 1) if value else None


def _property(root: ElementTree.Element, name: str) -> str | None:
    """A simple property's value, in any of the three ways that RDF/XML writes it."""
    for description in root.iter(f"{{{RDF}}}Description"):
        element = description.find(name)
        if element is not None:
            return (element.text or "").strip() or element.get(f"{{{RDF}}}resource")
        if name in description.attrib:
            return description.attrib[name]
    return None


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
