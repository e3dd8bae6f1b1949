"""Sweeps of toy trials on a real Ray, with processes that are really killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tuning.conftest import Yard
from tests.tuning.wishes import CRASH, NAN, SUICIDE, toy_spec
from tradewind.clusters import notices
from tradewind.errors import NotFoundError, QuotaError, RunError, SpecError
from tradewind.records import SweepEnd, TrialEnd, TrialFailed, TrialPreempted, TrialStart
from tradewind.training import Run
from tradewind.tuning import find

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def until(condition: Callable[[], object], *, timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kill_worker_at(yard: Yard, step: int) -> str:
    """End the process that makes a step, when it does; the trial's name."""
    until(lambda: any(one[1] == step for one in yard.steps()))
    trial, _, pid = next(one for one in yard.steps() if one[1] == step)
    os.kill(pid, signal.SIGKILL)
    return trial


def test_trials_are_runs_and_the_best_is_found(yard: Yard) -> None:
    sweep = yard.start(name="plain", trials=4, parallel=2, max_steps=6).wait()
    assert sweep.status == "finished"
    standing = sweep.standing()
    assert [one.status for one in standing.trials] == ["finished"] * 4
    best = min(standing.trials, key=lambda one: one.final or 9.9)
    assert sweep.best.number == best.number
    runs = [Run(yard.workspace.store, one.run) for one in standing.trials]
    assert [run.status for run in runs] == ["finished"] * 4
    assert [run.record.spec["optimizer"]["learning_rate"] for run in runs] == [
        one.values["optimizer.learning_rate"] for one in standing.trials
    ]
    assert [run.record.share for run in runs] == [0.5] * 4
    assert yard.again() == 0
    assert find(yard.workspace.store, "plain").best_run.name == best.run
    with pytest.raises(NotFoundError, match="plain"):
        find(yard.workspace.store, "plane")


def test_asha_stops_what_is_worse(yard: Yard) -> None:
    sweep = yard.start(name="asha", trials=8, parallel=2, scheduler="asha").wait()
    standing = sweep.standing()
    assert standing.count("pruned") >= 2
    assert standing.count("failed") == 0
    assert standing.best
    assert standing.best.status == "finished"
    pruned = next(one for one in standing.trials if one.status == "pruned")
    assert Run(yard.workspace.store, pruned.run).status == "stopped"
    assert pruned.step < 20


def test_lost_workers_are_no_failures(yard: Yard) -> None:
    sweep = yard.start(name="kills", trials=3, parallel=2, max_steps=12)
    trial = kill_worker_at(yard, 8)
    sweep.wait()
    standing = sweep.standing()
    assert [one.status for one in standing.trials] == ["finished"] * 3
    assert [one.failures for one in standing.trials] == [0] * 3
    told = [one for one in sweep.events() if isinstance(one, TrialPreempted)]
    assert len(told) == 1
    assert told[0].step == 5
    assert not told[0].noticed
    assert 0 < yard.again() <= 5
    steps = [one[1] for one in yard.steps() if one[0] == trial]
    assert set(steps) == set(range(1, 13))


def test_trials_leave_with_a_checkpoint_when_their_machine_is_to_go(yard: Yard) -> None:
    sweep = yard.start(name="notice", trials=2, parallel=2, max_steps=30)
    until(lambda: any(one[1] == 7 for one in yard.steps()))
    notices.announce(
        notices.Notice(reason="a drill", deadline_unix_s=time.time() + 60, kind="preemption", source="drill")
    )
    try:
        until(lambda: sum(isinstance(one, TrialPreempted) for one in sweep.events()) == 2)
    finally:
        notices.withdraw()
    sweep.wait()
    told = [one for one in sweep.events() if isinstance(one, TrialPreempted)]
    assert [one.noticed for one in told] == [True, True]
    assert all(one.step >= one.reached for one in told)
    assert [one.status for one in sweep.standing().trials] == ["finished"] * 2
    assert yard.again() == 0


def test_a_sweep_that_was_stopped_goes_on_without_a_step_made_twice(yard: Yard) -> None:
    sweep = yard.start(name="stops", trials=3, parallel=2, max_steps=15)
    until(lambda: any(one[1] == 7 for one in yard.steps()))
    sweep.stop()
    sweep.wait()
    assert sweep.status == "stopped"
    assert {Run(yard.workspace.store, one.run).status for one in sweep.standing().trials} == {"stopped"}
    again = yard.start(name="stops", trials=4, parallel=2, max_steps=15).wait()
    standing = again.standing()
    assert [one.status for one in standing.trials] == ["finished"] * 4
    assert yard.again() == 0
    with pytest.raises(SpecError, match="another seed"):
        yard.start(name="stops", trials=4, parallel=2, max_steps=15, seed=8)


def test_a_configuration_that_crashes_ends_and_the_sweep_goes_on(yard: Yard) -> None:
    sweep = yard.start(name="crash", work=CRASH, trials=6, parallel=2, max_steps=3, max_failures=1).wait()
    standing = sweep.standing()
    bad = [one for one in standing.trials if one.values["optimizer.learning_rate"] > 1e-2]
    assert bad
    assert {one.status for one in bad} == {"failed"}
    assert all(one.status == "finished" for one in standing.trials if one not in bad)
    assert "ValueError: the rate blew up" in bad[0].message
    assert any("in crash" in line for line in bad[0].log)
    assert sum(isinstance(one, TrialFailed) for one in sweep.events()) == len(bad)
    assert Run(yard.workspace.store, bad[0].run).status == "failed"


def test_a_configuration_that_kills_its_workers_ends(yard: Yard) -> None:
    sweep = yard.start(name="suicide", work=SUICIDE, trials=1, parallel=1, max_steps=3).wait()
    (trial,) = sweep.standing().trials
    assert trial.status == "failed"
    assert "5 times in a row" in trial.message


def test_an_objective_that_is_no_number_fails_its_configuration(yard: Yard) -> None:
    sweep = yard.start(name="nan", work=NAN, trials=4, parallel=2, max_steps=3).wait()
    standing = sweep.standing()
    bad = [one for one in standing.trials if one.values["optimizer.learning_rate"] > 1e-3]
    assert bad
    assert all(one.status == "failed" and "heldout_loss is nan at step" in one.message for one in bad)
    assert standing.best


def test_an_objective_that_never_comes_is_told_after_the_first_report(yard: Yard) -> None:
    sweep = yard.start(name="unknown", objective="heldout_los", trials=4, parallel=1, max_steps=200)
    with pytest.raises(RunError, match="did you mean 'heldout_loss'"):
        sweep.wait()
    assert sum(isinstance(one, TrialStart) for one in sweep.events()) == 1
    assert len(yard.steps()) < 100


def test_values_that_do_not_go_together_are_one_failed_configuration(yard: Yard) -> None:
    space = {"model.heads": {"choice": [2, 3]}, "model.hidden": {"choice": [32]}}
    sweep = yard.start(name="refused", space=space, searcher="grid", trials=9, parallel=1, max_steps=2).wait()
    ends = [one for one in sweep.events() if isinstance(one, TrialEnd)]
    assert sorted(one.status for one in ends) == ["failed", "finished"]
    assert "must be an even head size" in next(one.message for one in ends if one.status == "failed")


def test_a_budget_too_small_for_one_trial_is_refused_before_anything_starts(yard: Yard) -> None:
    from dataclasses import replace

    paid = yard.workspace.machine.model_copy(update={"usd_per_hour": 1000.0})
    tuning = replace(yard.tuning(), machine=paid)
    with pytest.raises(QuotaError, match="one trial would cost"):
        tuning.start(toy_spec(name="poor", budget_usd=1e-9))
    assert yard.workspace.store.folders("sweeps/poor") == []


DRIVE = """
import sys
from tradewind.workspace import Workspace
from tests.tuning.conftest import Yard
from pathlib import Path
with Workspace(sys.argv[1]) as workspace:
    Yard(workspace, Path()).start(name="driver", trials=8, parallel=2, max_steps=15, scheduler="asha").wait()
"""


def test_a_killed_driver_loses_no_trial(yard: Yard) -> None:
    folders = os.pathsep.join((str(ROOT / "platform"), str(ROOT)))
    first = subprocess.Popen(
        [sys.executable, "-c", DRIVE, yard.workspace.location],
        env={**os.environ, "PYTHONPATH": folders},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: len(yard.steps()) >= 40)
    first.kill()
    first.wait()
    left = find(yard.workspace.store, "driver")
    assert left.status == "stopped"
    begun = [one for one in left.events() if isinstance(one, TrialStart)]
    running = sum(one.status == "running" for one in left.standing().trials)
    time.sleep(1.0)  # its workers have noticed
    before = len(yard.steps())
    sweep = yard.start(name="driver", trials=8, parallel=2, max_steps=15, scheduler="asha").wait()
    events = sweep.events()
    assert [one for one in events if isinstance(one, TrialStart)][: len(begun)] == begun
    standing = sweep.standing()
    assert len(standing.trials) == 8
    assert {one.status for one in standing.trials} <= {"finished", "pruned"}
    assert sum(isinstance(one, SweepEnd) for one in events) == 1
    assert len(yard.steps()) > before
    assert yard.again() <= 5 * running + running
    assert json.loads(sweep.record.model_dump_json())["sweep"] == "driver"
