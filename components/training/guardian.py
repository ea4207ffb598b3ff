"""The guardian: sees a training go wrong, takes it back to where it was well, and says so.

What counts as trouble is defined in figures:

- *not a number*: a loss that is NaN or infinite.
- *divergence*: a loss beyond the limit that its family declares (10 000 unless it says otherwise)
  or beyond 100 times its own median so far (100, where that is under 1); or pictures that never
  differed from one another.
- *collapse*: the pictures of 256 seeds lie closer together than a quarter of what they did at
  their best, and than a tenth of the real ones, as mean squared distances of features.
- *over-fitting*: (E[D(learnt)] - E[D(held out)]) / (E[D(learnt)] - E[D(generated)]) over 0.6 at
  three looks in a row: the discriminator finds pictures that it never saw nearly as false as made
  ones (Karras et al. 2020, arXiv 2006.06676, eq. 1).
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.families.port import Loss, Trouble
from interfaces.igme import TrainingSettings

MAX_RISE = 100.0
MIN_ROWS = 20
"""Rows of the curves before a rise is judged: first losses mean little."""

MIN_SHARE_OF_BEST = 0.25
MIN_SPREAD = 0.1
NO_SPREAD = 0.01
MAX_OVER_FITTING = 0.6
LOOKS_IN_A_ROW = 3

LOOKS_TO_FORGET = 10
"""Good measurements after a trouble until the count starts again."""


@dataclass(frozen=True)
class Sighting:
    """A trouble, and the figures it was seen by."""

    trouble: Trouble
    figures: dict[str, float]


@dataclass
class Guardian:
    """Guardian of a training, with what it saw so far; saved with the training's state."""

    best_spread: float = 0.0
    over_fitted_looks: int = 0
    num_tries: int = 0
    troubled_at: int = 0
    has_given_up: bool = False
    log: list[dict[str, Any]] = field(default_factory=list)

    def judge_losses(
        self, rows: Sequence[Mapping[str, float]], losses: Sequence[Loss]
    ) -> Sighting | None:
        """Look at the newest row of the curves, the earlier ones being its measure."""
        newest, earlier = rows[-1], rows[:-1]
        broken = {name: value for name, value in newest.items() if not math.isfinite(value)}
        if broken:
            return Sighting("not a number", broken)
        for loss in losses:
            if loss.name not in newest:
                continue
            size, limit = abs(newest[loss.name]), _limit(loss, earlier)
            if size > limit:
                return Sighting("divergence", {loss.name: size, "limit": limit})
        return None

    def judge_pictures(self, spread: float, over_fitting: float | None) -> Sighting | None:
        """Look at a share of the real pictures' spread, and at the figure of over-fitting."""
        if not math.isfinite(spread):
            return Sighting("not a number", {"spread": spread})
        if spread < NO_SPREAD and self.best_spread < NO_SPREAD:
            return Sighting("divergence", {"spread": spread})
        if spread < MIN_SPREAD and spread < MIN_SHARE_OF_BEST * self.best_spread:
            return Sighting("collapse", {"spread": spread, "best_spread": self.best_spread})
        self.best_spread = max(self.best_spread, spread)
        is_over = over_fitting is not None and over_fitting > MAX_OVER_FITTING
        self.over_fitted_looks = self.over_fitted_looks + 1 if is_over else 0
        if over_fitting is not None and self.over_fitted_looks >= LOOKS_IN_A_ROW:
            self.over_fitted_looks = 0
            return Sighting("over-fitting", {"over_fitting": over_fitting})
        return None

    def may_try_again(self, images_seen: int, settings: TrainingSettings) -> bool:
        """Count a return to the good state; False, for good, once the tries are used up.

        Trouble that comes long after the last one is a new one, its tries its own.
        """
        if images_seen > self.troubled_at + LOOKS_TO_FORGET * settings.guardian_images:
            self.num_tries = 0
        self.troubled_at = max(self.troubled_at, images_seen)
        self.num_tries += 1
        self.has_given_up = self.num_tries > settings.guardian_tries
        return not self.has_given_up

    def note(self, sighting: Sighting, images_seen: int, seconds: float, did: str) -> str:
        """Write a sighting down; returns it as a line for a person."""
        # JSON has no NaN: it is written as text.
        figures = {k: v if math.isfinite(v) else str(v) for k, v in sighting.figures.items()}
        self.log.append(
            {
                "images_seen": images_seen,
                "seconds": round(seconds, 1),
                "saw": sighting.trouble,
                "figures": figures,
                "did": did,
            }
        )
        seen = ", ".join(
            f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in figures.items()
        )
        return f"guardian, after {images_seen} images: {sighting.trouble} ({seen}); {did}"

    def state_dict(self) -> dict[str, object]:
        """All of it, to go on exactly."""
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""
        vars(self).update(state)


def _limit(loss: Loss, rows: Sequence[Mapping[str, float]]) -> float:
    """Upper limit on a loss, from its own bound and its values so far."""
    limit = math.inf if loss.limit is None else loss.limit
    sizes = [abs(row[loss.name]) for row in rows if loss.name in row]
    if len(sizes) < MIN_ROWS:
        return limit
    return min(limit, MAX_RISE * max(statistics.median(sizes), 1.0))
