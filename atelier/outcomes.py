"""Outcomes of each kind of error: the server's status and the command line's exit code."""

from typing import NamedTuple

from interfaces.errors import (
    AtelierError,
    DamagedError,
    JobStateError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)


class Outcome(NamedTuple):
    """Answer to an error, over HTTP and on the command line."""

    status: int
    exit_code: int


_OUTCOMES: dict[type[AtelierError], Outcome] = {
    JobStateError: Outcome(status=409, exit_code=1),
    RefusedError: Outcome(status=422, exit_code=1),
    NotFoundError: Outcome(status=404, exit_code=1),
    DamagedError: Outcome(status=422, exit_code=1),
    UnavailableError: Outcome(status=503, exit_code=1),
    AtelierError: Outcome(status=422, exit_code=1),
}
"""By kind. Exit code 1 for all: 2, 3 and 130 say what is no error of these."""


def outcome_of(error: AtelierError) -> Outcome:
    """Outcome of an error: that of the nearest of its classes in the table."""
    return next(_OUTCOMES[kind] for kind in type(error).__mro__ if kind in _OUTCOMES)
