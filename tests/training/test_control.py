"""What workers hear from outside."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tradewind.clusters import notices
from tradewind.clusters.notices import Notice
from tradewind.storage import open_store
from tradewind.training import control, recovery
from tradewind.training.control import Control
from tradewind.training.run import STOP, RunFiles


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunFiles]:
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("TRADEWIND_RUN", str(tmp_path / "run"))
    monkeypatch.setattr(control, "ASK_EVERY_S", 0.02)
    recovery.begin()
    yield RunFiles(open_store(str(tmp_path / "store")), "r1")
    recovery.begin()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def notice(deadline_unix_s: float | None) -> Notice:
    return Notice(reason="taken back", deadline_unix_s=deadline_unix_s, kind="preemption", source="drill")


def test_nothing_is_wanted_of_a_run_that_is_left_alone(files: RunFiles) -> None:
    with Control(files, asks=True) as heard:
        assert heard.wishes() == (0.0, 0.0)


def test_request_to_stop_is_found_in_the_store_by_the_one_that_asks(files: RunFiles) -> None:
    files.store.put(files.key(STOP), b"{}")
    with Control(files, asks=False) as deaf, Control(files, asks=True) as heard:
        until(lambda: heard.wishes() == (1.0, 0.0))
        assert deaf.wishes() == (0.0, 0.0)


def test_machine_that_goes_is_told_with_the_time_that_is_left(files: RunFiles) -> None:
    with Control(files, asks=False) as heard:
        notices.announce(notice(time.time() + 30))
        until(lambda: heard.wishes() == (0.0, 1.0))
        told = recovery.interruption()
        assert told is not None
        left = told.remaining_s()
        assert left is not None
        assert 20 < left <= 30


def test_machine_that_is_only_likelier_to_go_stays_in_the_run(files: RunFiles) -> None:
    with Control(files, asks=False) as heard:
        notices.announce(notice(None))
        time.sleep(2 * notices.POLL_S)
        assert heard.wishes() == (0.0, 0.0)
