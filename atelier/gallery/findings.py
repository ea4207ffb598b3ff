"""Findings on each picture of a collection, and whether it can be learnt from.

The thresholds are those that trainings bore out where others measured them: cropping away more
than a third of a picture costs quality clearly, and so do repeated pictures, while blur hardly
matters (SceneWorks, "Dataset Doctor metrics", 2026, which also names the checks it refuted).
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from components.training_store import UNBALANCED_RATIO
from interfaces.contract import Message
from interfaces.itdt import ITDT, CollectionChoices, PictureChoice, TrainingImage

State = Literal["ready", "attention", "blocked"]

MAX_CROPPED = 0.35
"""Share of a picture that the square in its middle may leave out."""

FEW_PICTURES = 50


class Finding(Message):
    """One finding to report to the person."""

    kind: Literal[
        "unusable", "exact duplicate", "near duplicate", "cropped", "small", "few", "unbalanced"
    ] = Field(description="What was found.")
    detail: str = Field(description="The other picture, the share, the size, the reason.")


class FoundPicture(Message):
    """One picture of a collection with what was found."""

    number: int | None = Field(description="Place among the usable ones, from 0; None: unusable.")
    name: str = Field(description="Path inside the collection.")
    style: str = Field(description="Its style, as the folder says; empty for what is unusable.")
    width: int = Field(default=0, description="Width as shown, pixels; 0 where it is not known.")
    height: int = Field(default=0, description="Height as shown, pixels.")
    state: State = Field(description="Ready, needs attention, or blocked.")
    findings: tuple[Finding, ...] = Field(default=(), description="Why.")
    choice: PictureChoice = Field(description="What a person chose for it.")


class CollectionFindings(Message):
    """A collection with its pictures, those that need attention first."""

    state: State = Field(description="Blocked where nothing can be learnt from.")
    findings: tuple[Finding, ...] = Field(description="What holds for the whole.")
    pictures: tuple[FoundPicture, ...] = Field(description="Its pictures, within the limit.")
    num_pictures: int = Field(description="All of them.")


def examine(
    collection: ITDT, choices: CollectionChoices, resolution: int, limit: int
) -> CollectionFindings:
    """An inspected collection, before choices, and what was found in it."""
    every = [*_unusable(collection), *_usable(collection, choices, resolution)]
    whole = tuple(_of_the_whole(every))
    order = {"blocked": 0, "attention": 1, "ready": 2}
    every.sort(key=lambda one: order[one.state])
    return CollectionFindings(
        state=_state_of(every, whole),
        findings=whole,
        pictures=tuple(every[:limit]),
        num_pictures=len(every),
    )


def _state_of(every: Sequence[FoundPicture], whole: Sequence[Finding]) -> State:
    included = [one for one in every if not one.choice.is_excluded]
    if all(one.state == "blocked" for one in included):
        return "blocked"
    return "attention" if whole or any(one.state != "ready" for one in included) else "ready"


def _unusable(collection: ITDT) -> Iterator[FoundPicture]:
    for file in collection.quarantined():
        finding = Finding(kind="unusable", detail=f"{file.reason}: {file.detail}")
        yield FoundPicture(
            number=None,
            name=file.name,
            style="",
            state="blocked",
            findings=(finding,),
            choice=PictureChoice(),
        )


def _usable(
    collection: ITDT, choices: CollectionChoices, resolution: int
) -> Iterator[FoundPicture]:
    repeats = {pair.name: pair for pair in collection.duplicates()}
    excluded = {name for name, one in choices.pictures.items() if one.is_excluded}
    for number, image in enumerate(collection.images()):
        choice = choices.pictures.get(image.name, PictureChoice())
        findings = list(_of_shape(image, choice, resolution))
        pair = repeats.get(image.name)
        if pair is not None and pair.of not in excluded:
            kind = "exact duplicate" if pair.kind == "exact" else "near duplicate"
            findings.append(Finding(kind=kind, detail=pair.of))
        yield FoundPicture(
            number=number,
            name=image.name,
            style=image.style,
            width=image.width,
            height=image.height,
            state="attention" if findings and not choice.is_excluded else "ready",
            findings=tuple(findings),
            choice=choice,
        )


def _of_shape(image: TrainingImage, choice: PictureChoice, resolution: int) -> Iterator[Finding]:
    short, long = sorted((image.width, image.height))
    if choice.crop is None and 1 - short / long > MAX_CROPPED:
        yield Finding(kind="cropped", detail=f"{100 * (1 - short / long):.0f} %")
    if short < resolution:
        yield Finding(kind="small", detail=f"{image.width} × {image.height}")


def _of_the_whole(pictures: list[FoundPicture]) -> Iterator[Finding]:
    used = [one for one in pictures if one.number is not None and not one.choice.is_excluded]
    counts: dict[str, int] = {}
    for one in used:
        style = one.choice.style or one.style
        counts[style] = counts.get(style, 0) + 1
    if len(used) < FEW_PICTURES:
        yield Finding(kind="few", detail=str(len(used)))
    if counts and max(counts.values()) >= UNBALANCED_RATIO * min(counts.values()):
        rich, poor = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
        yield Finding(kind="unbalanced", detail=f"{rich} {counts[rich]}, {poor} {counts[poor]}")
