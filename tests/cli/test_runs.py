"""Logs, stopping, going on and killing, as far as no Ray is needed."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

from tests.cli.conftest import Tw
from tests.reports.conftest import RUN
from tests.training.test_run import NAME, begin
from tradewind.records import RunWorker, RunWorkers
from tradewind.storage import open_store
from tradewind.training import Run
from tradewind.training.logs import RunLog

LOG = logging.getLogger("tradewind.training.sample")


def running(folder: Path) -> Run:
    """A run that this process drives, with two workers that are gone, and what they have said."""
    run = begin(open_store(str(folder)))
    workers = tuple(
        RunWorker(rank=rank, host=socket.gethostname(), address="127.0.0.1", node="ab", pid=2**22 - rank)
        for rank in range(2)
    )
    run.files.store.put(run.files.key("workers/1.json"), RunWorkers(run=NAME, workers=workers).to_json())
    for rank in range(2):
        with RunLog(run.files, rank):
            LOG.warning("hello from %d", rank)
    return run


def test_log_of_all_workers_or_of_one(tw: Tw, empty: Path) -> None:
    running(empty)
    whole = tw("runs", "logs", NAME, "-w", empty).out.splitlines()
    assert [line.split(" ", 2)[2] for line in whole] == ["rank 0 warning: hello from 0", "rank 1 warning: hello from 1"]
    assert tw("runs", "logs", NAME, "-w", empty, "--rank", 1).out.splitlines() == whole[1:]
    assert tw("runs", "logs", NAME, "-w", empty, "-n", 1).out.splitlines() == whole[1:]


def test_run_is_shown_with_its_workers(tw: Tw, empty: Path) -> None:
    running(empty)
    assert (
        f"0, 1 on {socket.gethostname()} (processes {2**22}, {2**22 - 1})" in tw("runs", "show", NAME, "-w", empty).out
    )
    assert [one["rank"] for one in tw("runs", "show", NAME, "-w", empty, "--json").json["workers"]] == [0, 1]


def test_run_that_runs_can_be_asked_to_stop_and_others_cannot(tw: Tw, empty: Path, filled: Path) -> None:
    running(empty)
    assert tw("runs", "stop", NAME, "-w", empty).out == f"{NAME} stops behind its next checkpoint\n"
    answer = tw("runs", "stop", RUN, "-w", filled)
    assert (answer.exit_code, f"run {RUN} does not run: it is finished" in answer.err) == (2, True)


def test_worker_that_is_gone_is_not_killed_again(tw: Tw, empty: Path) -> None:
    running(empty)
    answer = tw("chaos", "kill", NAME, "-w", empty, "--rank", 1)
    assert answer.out == f"rank 1, process {2**22 - 1} on {socket.gethostname()}, had left before\n"
    assert tw("chaos", "kill", NAME, "-w", empty, "--rank", 0, "--json").json["killed"] is False


def test_run_without_workers_cannot_lose_one(tw: Tw, filled: Path) -> None:
    answer = tw("chaos", "kill", RUN, "-w", filled)
    assert (answer.exit_code, "has no workers: it is finished" in answer.err) == (2, True)
