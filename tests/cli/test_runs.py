"""Logs, stopping, going on and killing, as far as no Ray is needed."""

from __future__ import annotations

import logging
import re
import socket
from pathlib import Path

import pytest

from tests.cli.conftest import Tw
from tests.reports.conftest import RUN
from tests.training.test_run import NAME, begin
from tradewind.cli.app import _causes
from tradewind.cli.runs import _read
from tradewind.errors import RunError
from tradewind.records import RunWorker, RunWorkers
from tradewind.storage import open_store
from tradewind.training import Run
from tradewind.training.logs import RunLog
from tradewind.training.proof import Coverage

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


def test_finished_run_is_not_resumed_and_nothing_is_started_for_it(tw: Tw, filled: Path) -> None:
    answer = tw("runs", "resume", RUN, "-w", filled)
    assert (answer.exit_code, f"run {RUN} is finished" in answer.err) == (2, True)
    assert "start Ray" not in answer.err


def test_why_a_run_failed_is_shown_with_what_to_do(tw: Tw, empty: Path) -> None:
    run = running(empty)
    run.finish("failed", error=RunError("the loss is nan", hint="try a lower learning_rate"))
    shown = tw("runs", "show", NAME, "-w", empty).out
    assert "failed: the loss is nan" in shown
    assert "try a lower learning_rate" in shown


def test_training_without_a_dataset_says_how_to_make_one(tw: Tw, empty: Path) -> None:
    answer = tw("train", "jobs/tiny.train.yaml", "-w", empty)
    assert (answer.exit_code, "hint: make it: tw datasets add SPEC" in answer.err) == (2, True)


@pytest.mark.parametrize(("epochs", "begun", "said"), [(0, 80, "80 of 900 samples, once"), (2, 1, "2 times all 900")])
def test_what_was_read_is_told_as_it_was(epochs: int, begun: int, said: str) -> None:
    assert _read(Coverage(dataset="logbook@1", samples=900, epochs=epochs, begun=begun)).startswith(said)


@pytest.mark.parametrize("name", ["llama_1b", "llama_8b", "llama_70b"])
def test_large_model_is_refused_with_numbers_before_its_dataset_is_made(tw: Tw, empty: Path, name: str) -> None:
    answer = tw("train", f"jobs/{name}.train.yaml", "-w", empty)
    assert answer.exit_code == 1
    assert re.search(r"needs about .*: [\d.]+ [GT]iB too little", answer.err)


def test_what_all_ranks_say_is_said_once() -> None:
    same = dict.fromkeys(range(3), "CapacityError: no room left to write a")
    assert list(_causes(RunError("run pilot failed: no room left to write a (rank 0)", failures=same))) == []
    lost = {0: "RunError: the loss is nan", 1: "Connection reset by peer", 2: "Connection reset by peer"}
    said = list(_causes(RunError("run pilot failed: the loss is nan (rank 0)", failures=lost)))
    assert said == [("2 ranks from 1", "Connection reset by peer")]
