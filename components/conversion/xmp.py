"""The XMP packet that every file carries: what made it, that it is AI-generated, and its record.

XMP (ISO 16684-1) is the one place for metadata that PNG, JPEG, WebP, AVIF and TIFF all have. The
statement is IPTC's Digital Source Type (IPTC Photo Metadata Standard; values from the NewsCodes
vocabulary http://cv.iptc.org/newscodes/digitalsourcetype/).
"""

import json
from collections.abc import Iterator, Set
from xml.etree import ElementTree

from interfaces.ics import ICS
from interfaces.record import GeneratedOrigin, Record

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMP = "http://ns.adobe.com/xap/1.0/"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
ATELIER = "urn:atelier:record:1"
DUBLIN_CORE = "http://purl.org/dc/elements/1.1/"
PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
PLUS = "http://ns.useplus.org/ldf/xmp/1.0/"
_META = "adobe:ns:meta/"

for _prefix, _uri in {
    "x": _META,
    "rdf": RDF,
    "xmp": XMP,
    "Iptc4xmpExt": IPTC,
    "atelier": ATELIER,
    "dc": DUBLIN_CORE,
    "photoshop": PHOTOSHOP,
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "plus": PLUS,
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
}.items():
    ElementTree.register_namespace(_prefix, _uri)

_PACKET_RDF = f"{{{RDF}}}RDF"
_DESCRIPTION = f"{{{RDF}}}Description"
_ABOUT = f"{{{RDF}}}about"
_RESOURCE = f"{{{RDF}}}resource"
_SOURCE_TYPE = f"{{{IPTC}}}DigitalSourceType"
_TOOL = f"{{{XMP}}}CreatorTool"
_RECORD = f"{{{ATELIER}}}Record"
_DATA_MINING = f"{{{PLUS}}}DataMining"
# IPTC Photo Metadata Standard 2025.1, 9.43 to 9.46.
_AI_SYSTEM = f"{{{IPTC}}}AISystemUsed"
_AI_VERSION = f"{{{IPTC}}}AISystemVersionUsed"
_AI_PROMPT = f"{{{IPTC}}}AIPromptInformation"
_AI_WRITER = f"{{{IPTC}}}AIPromptWriterName"
# Where credentials lie that are not in the file itself: of another file, once this one is made.
_REMOTE_CREDENTIALS = "{http://purl.org/dc/terms/}provenance"

_NO_MINING = "http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED"
"""PLUS: the picture may not be mined for data at all, and so not be used to train models."""

_VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED = _VOCABULARY + "trainedAlgorithmicMedia"
EDITED = _VOCABULARY + "compositeWithTrainedAlgorithmicMedia"  # IPTC: edited using generative AI
RESAMPLED = _VOCABULARY + "algorithmicallyEnhanced"  # IPTC: altered without generative AI

_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_END = '\n<?xpacket end="w"?>'


def rdf_in(xmp: bytes) -> ElementTree.Element:
    """The RDF in a packet. Raises `ValueError` where there is none that can be read."""
    text = xmp.decode("utf-8").strip("\0 \r\n\t\ufeff")
    # Such a document could define entities that grow without end; XMP never is one.
    if "<!DOCTYPE" in text:
        raise ValueError("it declares a document type")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"it is no XML: {error}") from error
    rdf = root if root.tag == _PACKET_RDF else root.find(_PACKET_RDF)
    if rdf is None:
        raise ValueError("it holds no RDF")
    return rdf


def record_in(rdf: ElementTree.Element) -> Record | None:
    """The record in a packet, marked as a claim; None where there is none.

    Anybody can write any record into any file, so what a file says is never more than a claim,
    whatever the record itself says of that. Raises `ValueError` where it is damaged.
    """
    text = _property(rdf, _RECORD)
    if text is None:
        return None
    # Not Pydantic's own reader of JSON, which refuses lone surrogates.
    return Record.model_validate(json.loads(text)).model_copy(update={"is_claim": True})


def tool_in(rdf: ElementTree.Element) -> str | None:
    """The program that a packet names as the picture's maker; None where it names none."""
    return _property(rdf, _TOOL)


def declared_in(rdf: ElementTree.Element) -> str | None:
    """The IPTC value in a packet, Atelier's or another program's; None where there is none."""
    # Both schemes are met in the wild; the vocabulary's own is http.
    value = _property(rdf, _SOURCE_TYPE)
    return value.replace("https://", "http://", 1) if value else None


def source_type(record: Record, declared: str | None = None) -> str | None:
    """The IPTC value for a record; `declared` is what a person's own file said of itself.

    A generated picture is trainedAlgorithmicMedia. A person's own picture that a network enlarged
    is compositeWithTrainedAlgorithmicMedia, one that was plainly resampled is
    algorithmicallyEnhanced, and one that was only converted stays what it said it was. No
    statement that generative AI took part is ever weakened.
    """
    if record.is_ai_generated:
        return GENERATED
    if record.enhancement.weights_sha256 is not None or declared == EDITED:
        return EDITED
    return RESAMPLED if record.enhancement.scale > 1 else declared


def packet(
    record: Record,
    settings: ICS,
    declared: str | None = None,
    foreign: ElementTree.Element | None = None,
) -> bytes:
    """An XMP packet in UTF-8 with the record, and with all that a foreign packet says beside it.

    `declared` is the file's own source type so far, `foreign` its RDF. What both say is said once:
    record and source type are replaced, the tool that first made the picture stays. Raises
    `RecursionError` where elements are nested too deep to be written.
    """
    said = ElementTree.Element(_PACKET_RDF) if foreign is None else foreign
    own = {_TOOL: _property(said, _TOOL) or record.software} | _own(record, settings, declared)
    rdf = ElementTree.Element(_PACKET_RDF)
    rdf.extend(_kept(said, replaced={_RECORD, _SOURCE_TYPE, _REMOTE_CREDENTIALS, *own}))
    # Every description of a packet is about the same picture, by whatever name.
    about = next((d.attrib[_ABOUT] for d in rdf if _ABOUT in d.attrib), "")
    ours = ElementTree.SubElement(rdf, _DESCRIPTION, {_ABOUT: about})
    for name, value in own.items():
        ElementTree.SubElement(ours, name).text = _for_xml(value)
    root = ElementTree.Element(f"{{{_META}}}xmpmeta")
    root.append(rdf)
    return (_BEGIN + ElementTree.tostring(root, encoding="unicode") + _END).encode("utf-8")


def for_publishing(rdf: ElementTree.Element) -> ElementTree.Element:
    """The part of a foreign packet that goes on where names and settings are left out.

    It says how the picture came to be, and what its owner reserves.
    """
    kept = ElementTree.Element(_PACKET_RDF)
    ours = ElementTree.SubElement(kept, _DESCRIPTION, {_ABOUT: ""})
    for name in (_SOURCE_TYPE, _DATA_MINING):
        if (value := _property(rdf, name)) is not None:
            ElementTree.SubElement(ours, name).text = value
    return kept


def names_remote_credentials(rdf: ElementTree.Element) -> bool:
    """Whether a packet says that the file's credentials lie at some address."""
    return _property(rdf, _REMOTE_CREDENTIALS) is not None


def _own(record: Record, settings: ICS, declared: str | None) -> dict[str, str]:
    """The properties that we write, whatever a foreign packet said of the same name."""
    said: dict[str, str] = {}
    if (value := source_type(record, declared)) is not None:
        said[_SOURCE_TYPE] = value
    said |= _ai_system(record)
    if isinstance(record.origin, GeneratedOrigin) and record.origin.prompt is not None:
        said[_AI_PROMPT] = record.origin.prompt
    if settings.prompt_writer is not None and not settings.publish:
        said[_AI_WRITER] = settings.prompt_writer
    if settings.forbid_training:
        said[_DATA_MINING] = _NO_MINING
    # JSON in ASCII escapes what XML cannot hold: control characters, lone surrogates.
    text = json.dumps(record.model_dump(mode="json"), ensure_ascii=True, separators=(",", ":"))
    return said | {_RECORD: text}


def _ai_system(record: Record) -> dict[str, str]:
    """System that generated or enlarged, and its version; nothing for a file only converted."""
    origin, enhancement = record.origin, record.enhancement
    if isinstance(origin, GeneratedOrigin):
        version = f"{record.software}, model {origin.model_digest[:16]}"
        return {_AI_SYSTEM: f"Atelier {origin.family}", _AI_VERSION: version}
    if enhancement.weights_sha256 is None:
        return {}
    version = f"{record.software}, weights {enhancement.weights_sha256[:16]}"
    return {_AI_SYSTEM: f"Atelier {enhancement.enhancer}", _AI_VERSION: version}


def _for_xml(text: str) -> str:
    """The text without what XML 1.0 cannot hold: most control characters, lone surrogates."""
    return "".join(letter for letter in text if _is_xml(ord(letter)))


def _is_xml(code: int) -> bool:
    return (
        code in (0x9, 0xA, 0xD)
        or 0x20 <= code <= 0xD7FF
        or 0xE000 <= code <= 0xFFFD
        or code >= 0x10000
    )


def _kept(rdf: ElementTree.Element, replaced: Set[str]) -> Iterator[ElementTree.Element]:
    """The descriptions without the properties to be replaced; empty ones are dropped."""
    for description in rdf:
        attributes = {k: v for k, v in description.attrib.items() if k not in replaced}
        children = [child for child in description if child.tag not in replaced]
        if children or attributes.keys() - {_ABOUT}:
            kept = ElementTree.Element(description.tag, attributes)
            kept.extend(children)
            yield kept


def _property(rdf: ElementTree.Element, name: str) -> str | None:
    """A simple property of the picture, in any of the three ways that RDF/XML writes it.

    Descriptions inside others are passed over: they are about ingredients, not about the picture.
    """
    for description in rdf:
        if (element := description.find(name)) is not None:
            return (element.text or "").strip() or element.get(_RESOURCE)
        if name in description.attrib:
            return description.attrib[name]
    return None
