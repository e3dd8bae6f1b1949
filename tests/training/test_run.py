from __future__ import annotations

import os
import socket
import uuid
from typing import Any

import pytest

from tradewind.clusters import this_process
from tradewind.errors import NotFoundError, RunError, SpecError
from tradewind.ledger import Ledger, effort
from tradewind.records import CheckpointRecord, Machine, ProcessName, RunStart, StepMetrics
from tradewind.specs import TrainSpec
from tradewind.storage import Store, open_store
from tradewind.training import Run, find, names
from tradewind.training.control import is_asked_to_stop
from tradewind.training.metrics import MetricsWriter
from tradewind.training.run import STOP, RunFiles, take_up

MACHINE = Machine(host="quay", processor="Xeon", num_cpus=2, memory_bytes=8_000_000_000, usd_per_hour=3.6)
NAME = "pilot-20250304-120000"
GONE = ProcessName(host=socket.gethostname(), pid=os.getpid(), started=1.0)


@pytest.fixture
def store() -> Store:
    return open_store(f"memory://{uuid.uuid4().hex}")


def begin(store: Store, name: str = NAME, *, process: ProcessName | None = None) -> Run:
    start = RunStart(
        run=name,
        dataset="logbook@1",
        parameters=1234,
        spec=TrainSpec.of(name="pilot", dataset="logbook@1").model_dump(mode="json"),
        machine=MACHINE,
        process=process or this_process(),
        versions={},
        team="pilots",
        parents=("dataset:logbook@1",),
    )
    store.create(f"runs/{name}/run.json", start.to_json())
    return Run(store, name)


def step(number: int, **changes: Any) -> StepMetrics:
    values = {
        "attempt": "a",
        "step": number,
        "tokens": number * 100,
        "seconds": number * 0.5,
        "loss": 4.0,
        "learning_rate": 0.1,
        "grad_norm": 1.0,
        "tokens_per_s": 200.0,
        "cpu_seconds": number * 0.9,
    }
    return StepMetrics.model_validate(values | changes)


def write(run: Run, *rows: StepMetrics) -> None:
    with MetricsWriter(run.files, writes=True) as writer:
        for row in rows:
            writer.write(row)


def add_checkpoint(run: Run, number: int, *, heldout_loss: float | None) -> None:
    record = CheckpointRecord(
        run=run.name, step=number, tokens=1, seconds=1, cpu_seconds=1, loss=1, heldout_loss=heldout_loss, files=()
    )
    run.files.store.create(run.files.key(f"checkpoints/{number:09d}.json"), record.to_json())


def test_run_of_a_process_that_lives_is_running(store: Store) -> None:
    run = begin(store)
    assert (run.status, run.end, run.metrics(), run.checkpoints) == ("running", None, [], [])
    assert run.record.id == f"run:{NAME}"


def test_run_of_a_process_that_is_gone_is_stopped(store: Store) -> None:
    run = begin(store, process=GONE)
    assert run.status == run.summary().status == "stopped"
    with pytest.raises(RunError, match="was stopped: the process that drove it is gone"):
        run.wait()


def test_run_that_was_stopped_says_how_to_go_on(store: Store) -> None:
    run = begin(store)
    run.finish("stopped", message="stopped on request")
    with pytest.raises(RunError, match=f"run {NAME} was stopped on request") as caught:
        run.wait()
    assert caught.value.hint == f"go on with it: tw runs resume {NAME}"


def test_run_of_another_machine_is_never_known_to_be_gone(store: Store) -> None:
    assert begin(store, process=ProcessName(host="elsewhere", pid=1, started=1.0)).status == "running"


def test_end_tells_what_the_metrics_and_the_checkpoints_say(store: Store) -> None:
    run = begin(store)
    write(run, step(1), step(2, attempt="b"), step(3, attempt="b"))
    add_checkpoint(run, 2, heldout_loss=3.0)
    add_checkpoint(run, 3, heldout_loss=3.5)
    run.finish("finished", bigram_loss=3.3)
    end = run.end
    assert end is not None
    assert (end.status, end.steps, end.tokens, end.tokens_per_s) == ("finished", 3, 300, 200.0)
    assert (end.heldout_loss, end.best_step, end.bigram_loss, end.restarts) == (3.0, 2, 3.3, 1)
    assert end.effort is not None
    assert end.effort == effort(MACHINE, seconds=end.effort.seconds, cpu_seconds=2.7)
    assert end.parents == (f"run:{NAME}",)
    assert run.wait() is run
    assert run.best.step == 2


def test_steps_made_again_checkpoints_and_waiting_are_not_productive(store: Store) -> None:
    """Steps of 0.5 s: 4, of which 2 are made again after a checkpoint of 0.2 s; each waits 0.1 s for data."""
    run = begin(store, process=GONE)
    rows = [step(number, data_seconds=0.1) for number in (1, 2, 3, 4)]
    rows[1] = step(2, data_seconds=0.1, heldout_loss=3.0, stopped_seconds=0.2)
    write(run, *rows, *(step(number, attempt="b", data_seconds=0.1) for number in (3, 4, 5)))
    end = run.ending()
    assert end is not None
    assert end.used_s == pytest.approx(7 * 0.4 + 0.2)
    assert end.productive_s == pytest.approx(5 * 0.4)
    (row,) = Ledger(store).rows()
    assert (row.allocated_s, row.used_s, row.productive_s) == pytest.approx((3.0, 3.0, 2.0))


def test_row_of_a_run_has_its_team_dataset_and_beginning(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes it: of a run that died, anyone who looks."""
    monkeypatch.setenv("TRADEWIND_TEAM", "those-who-look")
    run = begin(store, process=GONE)
    assert run.ending() is not None
    (row,) = Ledger(store).rows()
    assert (row.team, row.run, row.dataset) == ("pilots", NAME, "logbook@1")
    assert row.began_at == run.record.created_at


def test_end_is_written_once_and_costs_once(store: Store) -> None:
    run = begin(store)
    write(run, step(5))
    run.finish("stopped", message="stopped from the keyboard")
    run.finish("finished")
    run.finish("failed", error=RunError("too late"))
    assert run.end is not None
    assert (run.end.status, run.end.message) == ("stopped", "stopped from the keyboard")
    (row,) = Ledger(store).rows()
    assert (row.activity, row.subject, row.tokens_in, row.usd) == ("training", f"run:{NAME}", 500, run.end.effort.usd)  # type: ignore[union-attr]


def test_failure_comes_out_of_wait_as_it_was_written_down(store: Store) -> None:
    run = begin(store)
    run.finish("failed", error=RunError("run failed: rank 1 ran out", hint="take less", failures={1: "MemoryError"}))
    with pytest.raises(RunError, match="run failed: rank 1 ran out") as caught:
        run.wait()
    assert (caught.value.hint, caught.value.failures) == ("take less", {1: "MemoryError"})


def test_run_that_failed_before_its_first_step_has_an_end(store: Store) -> None:
    run = begin(store)
    run.finish("failed", error=RunError("no room"))
    assert run.end is not None
    assert (run.end.steps, run.end.heldout_loss, run.end.best_step, run.end.restarts) == (0, None, None, 0)
    assert run.summary().message == "no room"


def test_summary_of_a_run_that_goes_on_shows_its_last_step(store: Store) -> None:
    run = begin(store)
    write(run, step(1), step(2, heldout_loss=3.5))
    summary = run.summary()
    assert (summary.status, summary.steps, summary.tokens, summary.heldout_loss) == ("running", 2, 200, 3.5)


def test_run_without_a_checkpoint_has_no_best(store: Store) -> None:
    with pytest.raises(NotFoundError, match=f"run {NAME} has no checkpoint"):
        _ = begin(store).best


def test_files_of_an_unfinished_checkpoint_are_no_checkpoint(store: Store) -> None:
    run = begin(store)
    store.put(run.files.key("checkpoints/000000007-abcd/__0_0.distcp"), b"half")
    assert run.checkpoints == []


def test_runs_are_listed_oldest_first_whatever_their_names(store: Store) -> None:
    ordered = ["zebra-20250303-235959", "my-pilot-20250304-120000", "anchor-20250304-120001"]
    for name in (ordered[1], ordered[2], ordered[0]):
        begin(store, name)
    store.put("runs/half-20250305-120000/metrics/1.jsonl", b"")
    assert names(store) == ordered
    assert find(store, ordered[1]).record.run == ordered[1]


def test_run_that_died_without_a_word_has_an_ending_all_the_same(store: Store) -> None:
    run = begin(store, process=GONE)
    write(run, step(1), step(2))
    ending = run.ending()
    assert ending is not None
    assert (ending.status, ending.steps, ending.tokens) == ("stopped", 2, 200)
    assert ending.effort is not None
    assert ending.effort.seconds == 1.0  # as far as its steps say, not until somebody looked
    assert run.end == ending
    assert [row.subject for row in Ledger(store).rows()] == [run.record.id]
    assert begin(store, "other-20250304-120000").ending() is None


def test_unknown_run_is_answered_with_the_nearest(store: Store) -> None:
    begin(store)
    with pytest.raises(NotFoundError, match=rf"did you mean '{NAME}'\?"):
        find(store, f"{NAME[:-1]}1")
    assert RunFiles(store, NAME).end() is None


def test_request_to_stop_is_kept_where_the_workers_look(store: Store) -> None:
    run = begin(store)
    assert not is_asked_to_stop(run.files)
    run.stop()
    assert is_asked_to_stop(run.files)


def test_run_that_does_not_run_cannot_be_stopped(store: Store) -> None:
    with pytest.raises(SpecError, match="does not run: it is stopped"):
        begin(store, process=GONE).stop()


class TestTakenUp:
    def test_run_that_was_stopped_runs_again_and_keeps_its_first_end(self, store: Store) -> None:
        run = begin(store, process=GONE)
        run.finish("stopped", message="stopped on request")
        store.put(run.files.key(STOP), b"{}")
        take_up(run, anyway=False)
        assert (run.status, run.end, run.driver) == ("running", None, this_process())
        assert [end.message for end in run.files.earlier_ends()] == ["stopped on request"]
        assert not is_asked_to_stop(run.files)

    def test_finished_run_is_refused(self, store: Store) -> None:
        run = begin(store)
        run.finish("finished")
        with pytest.raises(SpecError, match="is finished"):
            take_up(run, anyway=True)

    def test_run_that_runs_is_refused_unless_its_machine_is_known_to_be_gone(self, store: Store) -> None:
        run = begin(store, process=ProcessName(host="elsewhere", pid=1, started=1.0))
        with pytest.raises(SpecError, match="runs, driven from elsewhere"):
            take_up(run, anyway=False)
        take_up(run, anyway=True)
        assert run.driver == this_process()

    def test_each_part_of_the_run_is_paid_for_once(self, store: Store) -> None:
        run = begin(store)
        write(run, *(step(number) for number in range(1, 11)))
        run.finish("stopped")
        take_up(run, anyway=False)
        write(run, *(step(number, attempt="b") for number in range(11, 31)))
        run.finish("finished")
        rows = [row for row in Ledger(store).rows() if row.activity == "training"]
        assert [row.tokens_in for row in rows] == [1000, 2000]
        assert run.end is not None
        assert run.end.tokens == 3000
        assert sum(row.used_s for row in rows) <= run.end.used_s + 1e-6
        assert run.end.effort is not None
        assert sum(row.seconds for row in rows) == pytest.approx(run.end.effort.seconds)


def test_best_checkpoint_is_one_that_was_evaluated(store: Store) -> None:
    run = begin(store)
    add_checkpoint(run, 10, heldout_loss=2.0)
    add_checkpoint(run, 20, heldout_loss=None)
    assert run.best.step == 10


def test_best_of_checkpoints_that_were_not_evaluated_is_the_newest(store: Store) -> None:
    run = begin(store)
    add_checkpoint(run, 10, heldout_loss=None)
    add_checkpoint(run, 20, heldout_loss=None)
    assert run.best.step == 20
