"""Choice of a model's style nearest to a text: by words alone, no network, always the same.

For the project's own models, which know styles and no language. The rules, the first that finds
something wins:

1. The text names the style, all its words in a row: "a baroque portrait" => Baroque.
2. It has each of the style's words with another ending: "impressionist" => Impressionism.
3. It has a word that goes with a style (`GOES_WITH`): "like Monet" => Impressionism.
4. It nearly names the style, as a slip of the pen would: "impresionism" => Impressionism.

Where several are found the one of more words wins, then the one that comes first in the text, then
the one that comes first among the styles. What a text denies ("not baroque") is not understood.
"""

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher

CLOSE = 0.87
"""Ratio from which on two names are nearly the same (difflib's; 1 is equal).

A missing or doubled letter gives 0.9 and more; expressionism is 0.85 of impressionism, realism 0.82
of surrealism.
"""
MIN_CLOSE_LETTERS = 5
"""Letters that a word must have to be taken for a slip of the pen."""

GOES_WITH = {
    "abstract expressionism": "pollock, rothko, de kooning",
    "abstract": "kandinsky, malevich, mondrian, geometric, shapes, composition",
    "art nouveau": "mucha, klimt, gaudi, jugendstil, secession",
    "baroque": "caravaggio, rembrandt, rubens, vermeer, velazquez, chiaroscuro",
    "blossoms": "flower, floral, bloom, petals, rose",
    "compositions": "abstract, geometric, shapes, kandinsky, mondrian",
    "cubism": "picasso, braque, juan gris",
    "expressionism": "munch, kirchner, schiele, nolde",
    "glass": "stained glass, window, mosaic, cathedral",
    "impressionism": "monet, renoir, degas, pissarro, sisley, morisot, plein air",
    "julia": "fractal, mandelbrot, spiral, psychedelic",
    "landscapes": "mountain, hill, valley, field, sunset, scenery",
    "nocturnes": "night, moon, moonlight, stars, darkness",
    "pointillism": "seurat, signac, divisionism, dots, neo impressionism",
    "pop art": "warhol, lichtenstein, comic",
    "post impressionism": "van gogh, gauguin, cezanne",
    "realism": "courbet, millet, repin, photographic",
    "renaissance": "leonardo, da vinci, raphael, michelangelo, botticelli, titian, durer",
    "rococo": "fragonard, watteau, boucher, tiepolo, pastoral",
    "romanticism": "delacroix, turner, caspar david friedrich, constable, aivazovsky, sublime",
    "surrealism": "dali, magritte, max ernst, dream",
    "symbolism": "redon, moreau, vrubel",
    "ukiyo e": "hokusai, hiroshige, utamaro, japanese, japan, woodblock, edo, geisha",
}
"""Words that go with a style: painters, subjects, ways of working."""

# The longest first: 'impressionistic' ends with 'istic', and not just with 'ic'.
_ENDINGS = ("istic", "ists", "isms", "ist", "ism", "ing", "es", "ic", "al", "s", "e")
_MIN_STEM_LETTERS = 3

_Match = tuple[int, int, str]
"""Words matched, place in the text, and why, for a person."""


def nearest_style(prompt: str, styles: Sequence[str]) -> tuple[str, str] | None:
    """The style nearest to a text, and a sentence that says why; None where none is near.

    Capitals, accents, hyphens and underscores do not matter.
    """
    words = _words(prompt)
    for rule in (_named, _of_one_stem, _going_with, _nearly_named):
        matches = [(rule(words, _words(style)), style) for style in styles]
        found = [(match, style) for match, style in matches if match is not None]
        if found:
            (_, _, reason), style = min(found, key=lambda it: (-it[0][0], it[0][1]))
            return style, f"style {style!r}, because {reason}"
    return None


def _words(text: str) -> list[str]:
    """Lower case, without accents, split at everything but letters and digits."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return re.findall(r"[^\W_]+", "".join(c for c in plain if not unicodedata.combining(c)))


def _stem(word: str) -> str:
    """The word less its endings, one after the other, never below three letters."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _MIN_STEM_LETTERS:
            return _stem(word.removesuffix(ending))
    return word


def _place_of(part: Sequence[str], words: Sequence[str]) -> int | None:
    """Index among the words at which those of a part stand in a row; None where nowhere."""
    if not part:
        return None
    places = range(len(words) - len(part) + 1)
    return next((at for at in places if words[at : at + len(part)] == part), None)


def _named(words: list[str], style: list[str]) -> _Match | None:
    place = _place_of(style, words)
    if place is None:
        return None
    return len(style), place, f"the text says {' '.join(style)!r}"


def _of_one_stem(words: list[str], style: list[str]) -> _Match | None:
    stems = [_stem(word) for word in words]
    wanted = [_stem(word) for word in style]
    if not wanted or not set(wanted) <= set(stems):
        return None
    places = sorted(stems.index(stem) for stem in wanted)
    said = " ".join(words[place] for place in places)
    return len(style), places[0], f"{said!r} in the text is of the same words"


def _going_with(words: list[str], style: list[str]) -> _Match | None:
    stems, own = [_stem(word) for word in words], {_stem(word) for word in style}
    matches: list[_Match] = []
    for name, kin in GOES_WITH.items():
        if not {_stem(word) for word in name.split()} <= own:
            continue
        for phrase in kin.split(", "):
            place = _place_of([_stem(word) for word in phrase.split()], stems)
            if place is not None:
                matches.append((len(phrase.split()), place, f"{phrase!r} goes with {name}"))
    return min(matches, key=lambda it: (-it[0], it[1]), default=None)


def _nearly_named(words: list[str], style: list[str]) -> _Match | None:
    name = " ".join(style)
    for place in range(len(words) - len(style) + 1):
        said = " ".join(words[place : place + len(style)])
        if len(said) < MIN_CLOSE_LETTERS:
            continue
        if SequenceMatcher(None, said, name, autojunk=False).ratio() >= CLOSE:
            return len(style), place, f"{said!r} in the text is nearly its name"
    return None
