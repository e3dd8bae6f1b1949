"""Workers that are forked from a process which has loaded everything."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.tuning import quick
from tradewind.clusters import this_process
from tradewind.errors import RunError
from tradewind.tuning import nursery
from tradewind.tuning.slots import Slot
from tradewind.tuning.work import Work

WORK = Work("tests.tuning.quick:work", modules=("tests.tuning.quick",), groups=False)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nursery-") as name:
        place = Path(name) / "n"
        yield place
        nursery.end(place)
        until_gone(place)


def until_gone(path: Path) -> None:
    deadline = time.monotonic() + 30
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not path.exists()


def slot_in(folder: Path) -> Slot:
    slot = Slot(WORK, 1, "test", this_process())
    slot._folder = folder
    return slot


def job(folder: Path, **values: object) -> bytes:
    return pickle.dumps(quick.Job(url=str(folder.parent / "store"), **values))  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_slot_has_jobs_done_by_a_worker_of_its_own(folder: Path) -> None:
    slot = slot_in(folder)
    first = slot.run(job(folder))
    assert (first.kind, slot._pid != os.getpid()) == ("done", True)
    failed = slot.run(job(folder, says="no such tide"))
    assert (failed.kind, failed.message, failed.may_retry) == ("failed", "RuntimeError: no such tide", True)
    assert "no such tide" in failed.log[-1]
    pid = slot._pid
    lost = slot.run(job(folder, kills=True))
    assert (lost.kind, lost.slot_is_gone) == ("lost", False)
    assert slot.run(job(folder)).kind == "done"
    assert slot._pid != pid
    slot._worker.close() if slot._worker else None


@pytest.mark.slow
def test_two_slots_share_a_nursery_and_its_death_costs_no_worker(folder: Path) -> None:
    one, other = slot_in(folder), slot_in(folder)
    one.run(job(folder))
    other.run(job(folder))
    parents = {psutil.Process(slot._pid).ppid() for slot in (one, other)}
    assert len(parents) == 1
    (parent,) = parents
    os.kill(parent, signal.SIGSTOP)  # it takes the connection of the third, and ends before it makes a worker
    threading.Timer(0.5, os.kill, (parent, signal.SIGKILL)).start()
    third = slot_in(folder)
    assert third.run(job(folder)).kind == "done"
    assert one.run(job(folder)).kind == "done"
    for slot in (one, other, third):
        if slot._worker:
            slot._worker.close()


def test_code_that_cannot_be_loaded_is_told(folder: Path) -> None:
    slot = slot_in(folder)
    slot._work = Work("no_such_module:work", modules=("no_such_module",), groups=False)
    with pytest.raises(RunError, match="No module named 'no_such_module'"):
        slot.run(job(folder))
    shutil.rmtree(folder)
