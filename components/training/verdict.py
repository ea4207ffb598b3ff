"""Verdict on a training, in plain words: good or not yet, and how much longer. No torch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field

Grade = Literal["good", "not yet", "unknown"]

COLLAPSED = 0.005
"""Recall under which no pictures are called good: a person reads it as 0 %."""
LITTLE = 0.25
"""Share of real pictures' recall under which pictures are said to vary little."""


class Verdict(BaseModel):
    """Meaning of a training's last measurement for a person; `verdict.json`."""

    model_config = ConfigDict(frozen=True)

    grade: Grade
    is_blind: bool = False
    """Measured by features that cannot tell paintings from blurs: the embedded ones."""
    is_oversensitive: bool = False
    """Measured by features to which noise that nobody sees makes real pictures look unlike them."""
    typical: float | None = None
    """Share of the pictures that look like the collection's: precision."""
    typical_of_real: float | None = None
    varied: float | None = None
    """Share of the collection that has a picture near it: recall."""
    varied_of_real: float | None = None
    minutes_more: float | None = None
    """Time until they would be good, by the trend so far; None where there is no trend."""
    is_standing_still: bool = False
    """Measured more than once, and no better than before by more than the measurement can err."""
    is_over_fitting: bool = False

    @computed_field
    @property
    def varies_little(self) -> bool:
        """Whether they cover far less of the collection than real pictures would."""
        if self.varied is None or self.varied_of_real is None:
            return False
        return self.varied < LITTLE * self.varied_of_real

    @computed_field
    @property
    def is_blur(self) -> bool:
        """Whether they count as typical although none of the collection has one near it."""
        if self.varied is None or self.typical is None or self.typical_of_real is None:
            return False
        return self.varied < COLLAPSED and self.typical > self.typical_of_real

    @computed_field
    @property
    def headline(self) -> str | None:
        """The grade in plain words; None where it is not known."""
        if self.grade == "unknown":
            return None
        if self.grade == "not yet":
            return "Not good yet."
        return "Good one by one, but much alike." if self.varies_little else "Good."

    @computed_field
    @property
    def advice(self) -> str | None:
        """Advice in a sentence, with `{time}` for `minutes_more`; None where nothing is needed."""
        if self.is_blind:
            return "These features cannot tell how good it is: look at the samples."
        if self.is_oversensitive and not self.is_over_fitting:
            return (
                "How good it is cannot be measured with such pictures, since noise that nobody "
                "sees changes the figures: look at the samples."
            )
        if self.grade == "unknown" and not self.is_oversensitive:
            return "How good it is was not measured: look at the samples."
        if self.is_over_fitting:
            return "It is starting to memorise its pictures: more pictures would help most."
        if self.grade == "good":
            return "Train it longer for more variety." if self.varies_little else None
        if self.minutes_more is not None:
            return "About {time} more may be enough."
        if self.is_standing_still:
            return "It hardly gets better: use more pictures, or start from another model."
        return "Train it longer, with a larger budget."

    def sentences(self) -> list[str]:
        """Plain words: the grade, what it rests on, and what to do."""
        said: list[str] = []
        if self.headline is not None:
            said.append(self.headline)
            if not self.is_blur:
                said.append(
                    f"{_percent(self.typical)} of its pictures look like the collection's "
                    f"(of real ones: {_percent(self.typical_of_real)})."
                )
        if self.varies_little:
            said.append(
                f"They vary little: {_percent(self.varied)} of the collection has one like it "
                f"(with real ones: {_percent(self.varied_of_real)})."
            )
        if self.advice is not None:
            said.append(self.advice.format(time=_time(self.minutes_more or 0.0)))
        return said


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{round(100 * share)} %"


def _time(minutes: float) -> str:
    if minutes < 90:
        return f"{minutes:.0f} minute{'s' if round(minutes) != 1 else ''}"
    return f"{minutes / 60:.0f} hours"
