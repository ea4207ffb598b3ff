"""Removal of this machine's paths from texts that other machines may read."""

from collections.abc import Iterable
from pathlib import Path


def without_places(text: str, places: Iterable[Path]) -> str:
    """The text, with paths inside these folders given from there: /srv/w/runs/1 => runs/1."""
    for place in sorted(places, key=lambda place: -len(str(place))):
        if place != Path(place.anchor):
            text = text.replace(f"{place}/", "").replace(f"{place}\\", "")
    return text
