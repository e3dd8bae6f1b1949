"""When silence is a hang."""

from __future__ import annotations

import threading

import pytest

from tradewind.errors import TradewindError
from tradewind.training import watchdog
from tradewind.training.watchdog import LEAST_S, Watchdog, beat, watching


class Clock:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def watched(clock: Clock, *, step_s: float, steps: int) -> Watchdog:
    dog = Watchdog(lambda error: None, now=clock)
    for _ in range(steps):
        dog.beat(step=True)
        clock.s += step_s
    return dog


def test_before_the_first_step_nothing_is_known(clock: Clock) -> None:
    dog = watched(clock, step_s=1, steps=0)
    clock.s = 10 * LEAST_S
    assert dog.hang() is None


def test_short_steps_may_be_silent_for_ten_minutes(clock: Clock) -> None:
    dog = watched(clock, step_s=2, steps=10)
    clock.s = 18 + LEAST_S
    assert dog.hang() is None
    clock.s += 1
    error = dog.hang()
    assert error is not None
    assert error.message == "nothing has happened for 601 s, and a step takes 2 s"
    assert error.remedy == "retry"


def test_long_steps_may_be_silent_for_twenty_of_them(clock: Clock) -> None:
    dog = watched(clock, step_s=100, steps=10)
    clock.s = 900 + 2000
    assert dog.hang() is None
    clock.s += 1
    assert dog.hang() is not None


def test_one_slow_step_does_not_change_what_is_usual(clock: Clock) -> None:
    dog = watched(clock, step_s=100, steps=10)
    clock.s += 1000
    dog.beat(step=True)
    assert dog.limit_s() == 2000


def test_work_between_steps_is_no_silence_and_no_step(clock: Clock) -> None:
    dog = watched(clock, step_s=2, steps=3)
    clock.s += 599
    dog.beat(step=False)
    clock.s += 599
    assert dog.hang() is None
    assert dog.limit_s() == LEAST_S


def test_hang_is_told_once_with_the_stacks_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watchdog, "LEAST_S", 0.02)
    monkeypatch.setattr(watchdog, "LOOK_EVERY_S", 0.01)
    told: list[TradewindError] = []
    heard = threading.Event()

    def tell(error: TradewindError) -> None:
        told.append(error)
        heard.set()

    with watching(tell):
        beat()
        assert heard.wait(10)
    assert len(told) == 1
    assert "test_hang_is_told_once" in caplog.text


def test_beats_of_an_unwatched_program_do_nothing() -> None:
    beat()
    beat(step=False)
