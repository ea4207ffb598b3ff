"""Statements in a picture's file on its use in training: whether its owner forbids it.

Read are C2PA's and CAWG's training-mining assertions, the PLUS data mining property that IPTC took
over (IPTC Photo Metadata Standard 2023.1), and the keywords `noai` and `noimageai`, which art
sites set. They are statements: nothing here judges whether they bind anybody.
"""

from collections.abc import Mapping
from xml.etree import ElementTree

from components.common.credentials.ingredients import may_hold_credentials
from components.common.decoding import Source, media_type_of, open_source

_PLUS = "http://ns.useplus.org/ldf/xmp/1.0/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DUBLIN_CORE = "http://purl.org/dc/elements/1.1/"
_DATA_MINING = f"{{{_PLUS}}}DataMining"
_SUBJECT = f"{{{_DUBLIN_CORE}}}subject"
_ITEM = f"{{{_RDF}}}li"
_RESOURCE = f"{{{_RDF}}}resource"

# PLUS vocabulary of data mining, the last part of each address; what only other uses forbid is not
# here, and UNSPECIFIED and ALLOWED forbid nothing.
_FORBIDDING = {
    "DMI-PROHIBITED": "all data mining",
    "DMI-PROHIBITED-AIMLTRAINING": "training of models",
    "DMI-PROHIBITED-GENAIMLTRAINING": "training of generative models",
    "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING": "all data mining but search engines",
    "DMI-PROHIBITED-SEECONSTRAINT": "data mining, but for what its constraint allows",
    "DMI-PROHIBITED-SEEEMBEDDEDRIGHTSEXPR": "data mining, but for what its rights allow",
    "DMI-PROHIBITED-SEELINKEDRIGHTSEXPR": "data mining, but for what its rights allow",
}
_FORBIDDING_USES = ("ai_generative_training", "ai_training", "data_mining")
_KEYWORDS = {"noai", "noimageai"}
_XP_KEYWORDS = 0x9C9E  # EXIF, in UTF-16


def reservation_in(data: bytes) -> str | None:
    """Statement in an image file that forbids training on it, in words; None without any.

    Metadata that cannot be read says nothing. The file is one that was decoded before.
    """
    source = open_source(data)
    rdf = _rdf_of(source)
    return _by_credentials(data, source) or _by_xmp(rdf) or _by_keywords(source, rdf)


def _by_credentials(data: bytes, source: Source) -> str | None:
    if not may_hold_credentials(data):
        return None
    from components.common.credentials.reading import read_credentials

    found = read_credentials(data, media_type_of(source.header.format))
    uses: Mapping[str, str] = {} if found is None else found.training
    for use in _FORBIDDING_USES:
        if uses.get(use) in ("notAllowed", "constrained"):
            return f"content credentials: {use} {uses[use]}"
    return None


def _rdf_of(source: Source) -> ElementTree.Element | None:
    xmp = source.info.get("xmp") or b""
    text = xmp if isinstance(xmp, str) else xmp.decode("utf-8", "replace")
    if "DataMining" not in text and "noai" not in text.lower() and "noimageai" not in text.lower():
        return None  # the usual case: nothing to parse
    if "<!DOCTYPE" in text:
        return None  # such a document could define entities that grow without end
    try:
        return ElementTree.fromstring(text.strip("\0 \r\n\t\ufeff"))
    except ElementTree.ParseError:
        return None


def _by_xmp(rdf: ElementTree.Element | None) -> str | None:
    for element in () if rdf is None else rdf.iter():
        said = [element.attrib.get(_DATA_MINING, "")]
        if element.tag == _DATA_MINING:
            said += [element.text or "", element.get(_RESOURCE, "")]
        for value in said:
            if (term := value.strip().rpartition("/")[2]) in _FORBIDDING:
                return f"PLUS data mining: prohibits {_FORBIDDING[term]}"
    return None


def _by_keywords(source: Source, rdf: ElementTree.Element | None) -> str | None:
    words = set(_exif_keywords(source))
    for subject in () if rdf is None else rdf.iter(_SUBJECT):
        words |= {(item.text or "").strip().lower() for item in subject.iter(_ITEM)}
    words |= {text.strip().lower() for text in source.texts.values() if len(text) < 100}
    found = sorted(words & _KEYWORDS)
    return f"keyword {found[0]}" if found else None


def _exif_keywords(source: Source) -> list[str]:
    value: bytes | tuple[int, ...] | str = source.exif.get(_XP_KEYWORDS, b"")
    try:
        raw = bytes(value) if isinstance(value, bytes | tuple) else b""
    except (TypeError, ValueError):  # numbers that are no bytes
        return []
    text = raw.decode("utf-16-le", "replace")
    return [word.strip(" \0").lower() for word in text.split(";")]
