"""The states of a training in its folder: the last two, and the last that the guardian found good.

A state is replaced only by a whole new one, and the one before is kept, so that a training goes on
even where the newest is lost or damaged.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.common.checkpoints import load_state, save_state
from interfaces.errors import AtelierError, DamagedError

_log = logging.getLogger("atelier")

TRACES = ("model/model.json", "curves.csv", "measurements.jsonl", "guardian.jsonl")
"""Files of a training that has made progress."""


class States:
    """States that a training in the folder `run` can go on from."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.newest = run / "state.safetensors"
        self.previous = run / "state.previous.safetensors"
        self.good = run / "good.safetensors"

    def save(self, state: Mapping[str, object]) -> None:
        """Save the newest state; the one before becomes the previous one."""
        coming = self.run / "state.coming.safetensors"
        save_state(coming, state)
        if self.newest.exists():
            self.newest.replace(self.previous)
        coming.replace(self.newest)

    def resume(self, go_on: Callable[[Path, dict[str, Any]], None]) -> bool:
        """Hand the newest readable state to `go_on`; False where the training has not begun.

        A missing or damaged one is reported and the next older taken. Raises `AtelierError` where
        none can be read although the training has begun: starting over would replace its model.
        """
        faults = [] if self.newest.exists() else [f"{self.newest}: missing"]
        for path in filter(Path.exists, (self.newest, self.previous, self.good)):
            try:
                state = load_state(path)
            except AtelierError as error:
                faults.append(str(error))
                continue
            if faults:
                _log.warning("%s; going on from %s", "; ".join(faults), path.name)
            go_on(path, state)
            return True
        if self._has_begun():
            raise DamagedError(
                f"{'; '.join(faults)}; there is nothing to resume from, and starting over would "
                "replace what was trained: put a copy of a state back, or train in another folder"
            )
        return False

    def _has_begun(self) -> bool:
        states = (self.newest, self.previous, self.good)
        traces = (self.run / name for name in TRACES)
        return any(path.exists() for path in (*states, *traces))
