from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tradewind.clusters import notices
from tradewind.clusters.notices import FILE, OVER_S, RUN, Notice, announce, current, run_folder, subscribe, withdraw
from tradewind.errors import AuthError, IntegrityError

TIMEOUT_S = 20


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(RUN, str(tmp_path / "run"))
    return tmp_path / "run"


def notice(event: str = "aws/1", *, in_s: float | None = 120.0) -> Notice:
    deadline_unix_s = None if in_s is None else time.time() + in_s
    return Notice(reason="spot", deadline_unix_s=deadline_unix_s, kind="preemption", source="aws", event=event)


def test_without_a_sentinel_there_is_no_notice() -> None:
    assert current() is None
    withdraw()


def test_announced_notice_holds_until_it_is_withdrawn() -> None:
    told = notice()
    assert announce(told) == told == current()
    withdraw()
    assert current() is None


def test_another_process_reads_it(folder: Path) -> None:
    announce(notice())
    code = "from tradewind.clusters.notices import current; print(current().event)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "aws/1\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_another_user_reads_it(tmp_path: Path) -> None:
    announce(notice())
    for parent in (tmp_path, *tmp_path.parents[:-2]):
        parent.chmod(0o755)
    file = run_folder() / FILE
    done = subprocess.run(["cat", str(file)], user=65534, capture_output=True, text=True)
    assert json.loads(done.stdout)["event"] == "aws/1"


def test_same_event_keeps_its_first_deadline() -> None:
    first = announce(notice(in_s=30))
    assert announce(notice(in_s=60)) == first == current()


@pytest.mark.parametrize(
    ("held_s", "new_s", "holds"),
    [(None, 30.0, "new"), (60.0, 30.0, "new"), (30.0, 60.0, "held"), (30.0, None, "held"), (-1.0, 60.0, "new")],
)
def test_more_urgent_notice_holds(held_s: float | None, new_s: float | None, holds: str) -> None:
    announce(notice("held", in_s=held_s))
    assert announce(notice("new", in_s=new_s)).event == holds


def test_notice_of_an_earlier_boot_does_not_hold(folder: Path) -> None:
    announce(notice())
    values = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps({**values, "boot_id": "of yesterday"}))
    assert current() is None


def test_machine_that_outlives_its_deadline_was_not_taken_away() -> None:
    announce(notice(in_s=-OVER_S + 5))
    assert current() is not None
    announce(notice("aws/2", in_s=-OVER_S - 5))
    assert current() is None


def test_what_a_newer_program_adds_is_passed_over(folder: Path) -> None:
    told = announce(notice())
    values = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps({**values, "tide": "low"}))
    assert current() == told


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "7"])
def test_damaged_file_is_said(folder: Path, text: str) -> None:
    (run_folder() / FILE).write_text(text)
    with pytest.raises(IntegrityError, match=r"notice\.json is not a notice"):
        current()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_another_users_folder_is_neither_read_nor_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "theirs"
    monkeypatch.setattr(notices, "FOLDERS", (folder,))
    monkeypatch.delenv(RUN)
    announce(notice())
    assert current() is not None
    os.chown(folder, 65534, 65534)
    os.chown(folder / FILE, 65534, 65534)
    assert current() is None
    with pytest.raises(AuthError, match="belongs to another user"):
        run_folder()


def test_damaged_file_gives_way_to_the_next_notice() -> None:
    (run_folder() / FILE).write_text("{")
    assert announce(notice()) == current()


class Heard:
    """What a subscriber was told, and a way to wait for it."""

    def __init__(self, fails_at: str = "") -> None:
        self.events: list[str] = []
        self._fails_at = fails_at
        self._change = threading.Condition()

    def __call__(self, told: Notice) -> None:
        with self._change:
            self.events.append(told.event)
            self._change.notify()
        if told.event == self._fails_at:
            raise RuntimeError("a callback of somebody")

    def wait_for(self, *events: str) -> None:
        with self._change:
            assert self._change.wait_for(lambda: tuple(self.events) == events, TIMEOUT_S), self.events


def test_subscriber_is_told_what_holds_and_what_comes() -> None:
    announce(notice("a", in_s=None))
    heard = Heard()
    with subscribe(heard):
        heard.wait_for("a")
        announce(notice("b", in_s=60))
        heard.wait_for("a", "b")
        announce(notice("b", in_s=30))
        announce(notice("c", in_s=30))
        heard.wait_for("a", "b", "c")


def test_callback_that_raises_is_told_the_next_one() -> None:
    heard = Heard(fails_at="a")
    with subscribe(heard):
        announce(notice("a", in_s=60))
        heard.wait_for("a")
        announce(notice("b", in_s=30))
        heard.wait_for("a", "b")


def test_closed_subscription_is_told_nothing() -> None:
    heard = Heard()
    subscription = subscribe(heard)
    subscription.close()
    announce(notice())
    assert heard.events == []
    assert not subscription._thread.is_alive()


def test_callback_may_close_its_own_subscription() -> None:
    closed = threading.Event()

    def close(_: Notice) -> None:
        subscription.close()
        closed.set()

    subscription = subscribe(close)
    announce(notice())
    assert closed.wait(TIMEOUT_S)


def test_remaining_time_is_never_below_zero() -> None:
    assert notice(in_s=-5).remaining_s() == 0
    assert notice(in_s=None).remaining_s() is None
    assert 25 < (notice(in_s=30).remaining_s() or 0) <= 30
