"""What a worker is asked to stop for."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tradewind.clusters.notices import Notice
from tradewind.training.recovery import Interruption, Preempted, begin, heed, interrupt, interruption


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    begin()
    yield
    begin()


def notice(remaining_s: float | None, *, age_s: float = 0.0) -> Notice:
    now = time.time()
    deadline = None if remaining_s is None else now + remaining_s
    return Notice(
        reason="taken back", deadline_unix_s=deadline, kind="preemption", source="drill", noticed_unix_s=now - age_s
    )


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_nobody_stops_unasked() -> None:
    assert interruption() is None


def test_most_urgent_request_holds() -> None:
    interrupt("there is room for more")
    interrupt("drained", 200.0)
    interrupt("drained later", 300.0)
    interrupt("there is room again")
    assert interruption() == Interruption("drained", 200.0)


def test_request_is_forgotten_when_training_begins_anew() -> None:
    interrupt("drained", 200.0)
    begin()
    assert interruption() is None


def test_time_that_remains_is_never_negative_and_may_be_unlimited() -> None:
    assert Interruption("x", time.time() - 5).remaining_s() == 0.0
    assert Interruption("x").remaining_s() is None
    left = Interruption("x", time.time() + 60).remaining_s()
    assert left is not None
    assert 50 < left <= 60


def test_notice_that_comes_while_training_is_heeded_at_once() -> None:
    heed(notice(60, age_s=-1))
    until(lambda: interruption() is not None)
    found = interruption()
    assert found is not None
    assert found.reason == "preemption: taken back"


def test_notice_without_an_end_is_not_heeded() -> None:
    heed(notice(None, age_s=-1))
    assert interruption() is None


def test_notice_from_before_leaves_time_to_work(monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[float] = []

    class Timer:
        def __init__(self, delay_s: float, work: object, arguments: object) -> None:
            delays.append(delay_s)

        def start(self) -> None: ...

    monkeypatch.setattr(threading, "Timer", Timer)
    heed(notice(100, age_s=30))
    heed(notice(20, age_s=30))
    assert delays == pytest.approx([85, 10], abs=1)


def test_leaving_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(Preempted("drained", hint="nothing")))
    assert (type(error), error.message, error.hint, error.remedy) == (Preempted, "drained", "nothing", "retry")
