from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.serving.autoscaling.samples import busy, replica, signals
from tradewind.errors import NotFoundError
from tradewind.serving.autoscaling import Decision, Limits, Signals
from tradewind.serving.autoscaling.history import (
    QUIET_WINDOW_S,
    Recorder,
    began_at,
    decisions_of,
    ended_at,
    read_windows,
    windows_of,
)
from tradewind.serving.autoscaling.replay import looked
from tradewind.serving.autoscaling.ticks import TICK_S
from tradewind.storage import Store, open_store

NOON_S = datetime(2026, 4, 5, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


@pytest.fixture
def recorder(store: Store) -> Recorder:
    return Recorder(store, "chat", "tokens", Limits(max=4), {"room": 1.0})


def look(tick: int, load: int) -> tuple[Signals, Decision]:
    return signals(NOON_S + tick * TICK_S, busy(load), replica("starting"), arrivals_per_s=0.1 * load), Decision(
        2, "why"
    )


def test_every_look_is_read_back_as_it_was(store: Store, recorder: Recorder) -> None:
    seen = [look(tick, load) for tick, load in enumerate([1, 1, 1, 2, 2, 3, 1])]
    for one in seen:
        recorder.see(*one)
    recorder.flush()
    (window,) = read_windows(store, "chat")
    assert [(one, 2) for one, _ in seen] == list(looked(window))
    assert len(window.samples) == 4
    assert (window.policy, window.settings, Limits.of(window.limits)) == ("tokens", {"room": 1.0}, Limits(max=4))


def test_gap_between_looks_is_none_when_read_back(store: Store, recorder: Recorder) -> None:
    for tick in (0, 1, 9, 10):
        recorder.see(*look(tick, 1))
    recorder.flush()
    times = [one.time_s - NOON_S for window in read_windows(store, "chat") for one, _ in looked(window)]
    assert times == [0.0, 0.5, 4.5, 5.0]


def test_window_ends_after_a_minute_and_a_quiet_one_later(store: Store, recorder: Recorder) -> None:
    for tick in range(130):
        recorder.see(*look(tick, tick % 3))
    assert windows_of(store, "chat").numbers() == [1]
    recorder.flush()
    for tick in range(130, 130 + int(QUIET_WINDOW_S / TICK_S)):
        recorder.see(*look(tick, 1))
    windows = read_windows(store, "chat")
    assert [len(one.samples) for one in windows] == [120, 10, 1]
    assert [one.is_first for one in windows] == [True, False, False]


def test_change_is_written_at_once_with_its_inputs(store: Store, recorder: Recorder) -> None:
    for decision in (Decision(2, "same", {"waiting": 0.0}), Decision(3, "more", {"waiting": 7.0})):
        recorder.see(look(0, 1)[0], decision)
    (record,) = decisions_of(store, "chat").all()
    assert (record.before, record.target, record.reason, record.inputs) == (2, 3, "more", {"waiting": 7.0})
    assert record.at == datetime(2026, 4, 5, 12, tzinfo=UTC)


def test_windows_of_a_time_are_those_that_overlap_it(store: Store, recorder: Recorder) -> None:
    for tick in range(6 * 120):
        recorder.see(*look(tick, tick % 3))
    noon = datetime(2026, 4, 5, 12, tzinfo=UTC)
    found = read_windows(
        store, "chat", since=noon.replace(minute=2, second=30), until=noon.replace(minute=4, second=30)
    )
    assert [(began_at(one).minute, ended_at(one).minute) for one in found] == [(2, 3), (3, 4), (4, 5)]


def test_nothing_recorded_is_said_with_what_records(store: Store, recorder: Recorder) -> None:
    with pytest.raises(NotFoundError, match=r"nothing is recorded of the scaling of endpoint 'chat'$") as caught:
        read_windows(store, "chat")
    assert "scaling" in str(caught.value.hint)
    recorder.see(*look(0, 1))
    recorder.flush()
    with pytest.raises(NotFoundError, match="at that time"):
        read_windows(store, "chat", until=datetime(2020, 1, 1, tzinfo=UTC))
