from __future__ import annotations

from pathlib import Path

import pytest

from tradewind.errors import ConflictError
from tradewind.records import ProcessName, SweepEvent, TrialReport, TrialStart
from tradewind.storage import open_store
from tradewind.tuning.journal import Journal, SweepFiles


def test_events_come_back_in_order(tmp_path: Path) -> None:
    files = SweepFiles(open_store(str(tmp_path)), "boat")
    journal = Journal(files)
    events: list[SweepEvent] = [
        TrialStart(number=0, values={"a": [1, 2]}, run="r"),
        TrialReport(number=0, step=1, objective=0.5),
    ]
    journal.write()
    for event in events:
        journal.say(event)
        journal.write()
    journal.say(events[1])
    journal.say(events[0])
    journal.write()
    assert list(files.events()) == [*events, events[1], events[0]]
    assert files.pages.numbers() == [1, 2, 3]


def test_a_driver_that_was_replaced_finds_out(tmp_path: Path) -> None:
    files = SweepFiles(open_store(str(tmp_path)), "boat")
    old, new = Journal(files), Journal(files)
    new._process = ProcessName(host="elsewhere", pid=1, started=0.0)
    new.say(TrialStart(number=0, values={}, run="r"))
    new.write()
    old.say(TrialStart(number=0, values={}, run="s"))
    with pytest.raises(ConflictError, match="driven by another process"):
        old.write()
    assert [event.number for event in files.events() if isinstance(event, TrialStart)] == [0]


def test_a_wish_to_stop_is_kept_until_it_is_forgotten(tmp_path: Path) -> None:
    files = SweepFiles(open_store(str(tmp_path)), "boat")
    assert not files.is_asked_to_stop()
    files.ask_to_stop()
    assert files.is_asked_to_stop()
    files.forget_stop()
    assert not files.is_asked_to_stop()
