"""The report on a collection, as `pipeline.py inspect` prints it."""

from collections.abc import Iterator
from itertools import islice

from interfaces.errors import one_line
from interfaces.itdt import ITDT

_BAR_WIDTH = 24
_SHOWN_DUPLICATES = 20
UNBALANCED_RATIO = 3.0
"""Images of the richest style over those of the poorest from which a person is told."""
_EIGHTHS = " ▏▎▍▌▋▊▉"


def report_lines(collection: ITDT) -> list[str]:
    """Report on a collection, to read before training, as plain lines of text.

    Counts, the balance of styles, the range of sizes, every file put aside and why, and the first
    duplicates. Names are a stranger's: print the lines without interpreting markup in them.
    """
    return [
        *_summary(collection),
        "",
        *_styles(collection),
        *_rights(collection),
        *_put_aside(collection),
        *_duplicates(collection),
    ]


def _summary(collection: ITDT) -> Iterator[str]:
    yield f"{collection.name}: {_count(collection.num_images, 'image')} to learn from"
    yield f"  from          {one_line(collection.source)}"
    yield f"  sizes         {_sizes(collection)}"
    yield f"  put aside     {_count(collection.num_quarantined, 'file')}"
    exact, near = collection.num_exact_duplicates, collection.num_near_duplicates
    yield f"  duplicates    {exact:,} exact, {near:,} near"


def _sizes(collection: ITDT) -> str:
    smallest = largest = None
    for image in collection.images():
        size = (image.width * image.height, image.width, image.height)
        smallest = min(smallest or size, size)
        largest = max(largest or size, size)
    assert smallest is not None and largest is not None  # a collection has an image
    if smallest == largest:
        return f"all {smallest[1]}×{smallest[2]} pixels"
    return f"{smallest[1]}×{smallest[2]} to {largest[1]}×{largest[2]} pixels"


def _styles(collection: ITDT) -> Iterator[str]:
    per_style = collection.images_per_style
    most, least = max(per_style.values()), min(per_style.values())
    width = max(len(style) for style in per_style)
    yield _count(len(per_style), "style")
    for style, count in per_style.items():
        share = 100 * count / collection.num_images
        yield f"  {style:<{width}}  {count:>9,}  {share:5.1f} %  {_bar(count / most)}".rstrip()
    if most >= UNBALANCED_RATIO * least:
        rich = max(per_style, key=lambda style: per_style[style])
        poor = min(per_style, key=lambda style: per_style[style])
        yield f"  Unbalanced: {rich} has {most / least:.0f} times as many images as {poor}."
        yield f"  What is learnt will lean towards {rich}; more pictures of the others help."


def _rights(collection: ITDT) -> Iterator[str]:
    rights = collection.rights
    if rights is None:
        return
    yield ""
    number = _count(rights.num_reserved, "image")
    if rights.decision == "taken":
        yield f"Rights: {number} of these say not to train on them, and are taken all the same"
        for image in collection.images():
            if image.reservation is not None:
                yield f"  {image.name}: {image.reservation}"
    else:
        yield f"Rights: {number} say not to train on them, and are left out"
        yield "  `--collect.reserved take` takes them; the model will say so"


def _put_aside(collection: ITDT) -> Iterator[str]:
    if collection.num_quarantined:
        yield ""
        yield "Put aside: not learnt from, left where they are"
        for file in collection.quarantined():
            yield f"  {file.name}: {file.reason}, {file.detail}"


def _duplicates(collection: ITDT) -> Iterator[str]:
    total = collection.num_exact_duplicates + collection.num_near_duplicates
    if total:
        yield ""
        yield "Duplicates: all are learnt from; remove one of each pair if you would rather not"
        for pair in islice(collection.duplicates(), _SHOWN_DUPLICATES):
            how = "same bytes" if pair.kind == "exact" else "looks the same"
            if pair.distance:
                how = f"nearly the same: {pair.distance} of 64 bits differ"
            yield f"  {pair.name} repeats {pair.of} ({how})"
        if total > _SHOWN_DUPLICATES:
            rest = total - _SHOWN_DUPLICATES
            yield f"  and {rest:,} more: {collection.manifest / 'duplicates.jsonl'}"


def _bar(fraction: float) -> str:
    eighths = max(1, round(fraction * _BAR_WIDTH * 8))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
