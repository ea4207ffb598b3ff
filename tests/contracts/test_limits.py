"""Time limits of the contract tests."""

import signal
import time

import pytest

from atelier.contracts.limits import OverdueError, limited


def _spin_through_errors() -> None:
    while True:
        try:
            time.sleep(0.001)
        except Exception:
            continue


@pytest.mark.parametrize("has_alarm", [True, False])
def test_what_never_ends_is_interrupted(has_alarm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_alarm:
        monkeypatch.delattr(signal, "SIGALRM", raising=False)
    with pytest.raises(OverdueError), limited(0.1):
        _spin_through_errors()


@pytest.mark.parametrize("has_alarm", [True, False])
def test_what_ends_in_time_is_left_alone(has_alarm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_alarm:
        monkeypatch.delattr(signal, "SIGALRM", raising=False)
    number = getattr(signal, "SIGALRM", signal.SIGINT)
    before = signal.getsignal(number)
    with limited(0.2):
        pass
    time.sleep(0.4)
    assert signal.getsignal(number) is before
