from __future__ import annotations

import math

import pytest

from tests.tuning.sweeps import PROCESS, SPEC, events, standing, start
from tradewind.records.sweep import (
    SweepEnd,
    SweepEvent,
    SweepResumed,
    TrialEnd,
    TrialFailed,
    TrialPreempted,
    TrialReport,
    TrialStart,
)
from tradewind.specs.tune import TuneSpec
from tradewind.tuning.standing import standing_of, summary

STARTED = TrialStart(number=0, values={"optimizer.learning_rate": 0.01}, run="r-0")


def report(step: int, objective: float, *, number: int = 0, usd: float = 0.0) -> TrialReport:
    return TrialReport(number=number, step=step, objective=objective, machine_s=step, cost_usd=usd)


def test_sweep_without_events_has_nothing_to_say_yet() -> None:
    found = standing_of(start(), [])
    assert (found.best, found.usd, found.status, found.saved) == (None, 0.0, "running", 0.0)
    assert found.left_usd == 0.5


def test_trials_are_counted_by_what_became_of_them() -> None:
    found = standing(ended=True)
    assert sum(found.count(status) for status in ("running", "finished", "pruned", "failed")) == len(found.trials) == 20
    assert found.count("failed") == 2
    assert found.status == "finished"
    assert found.usd == pytest.approx(math.fsum(one.usd for one in found.trials))


@pytest.mark.parametrize(("goal", "best"), [("minimize", 0), ("maximize", 1)])
def test_best_trial_is_the_one_with_the_best_checkpoint(goal: str, best: int) -> None:
    told: list[SweepEvent] = [
        STARTED,
        STARTED.model_copy(update={"number": 1}),
        report(20, 1.0),
        report(40, 1.5),
        report(20, 2.0, number=1),
    ]
    found = standing_of(start(goal=goal), told)
    assert found.best
    assert found.best.number == best


def test_failed_trial_and_one_that_is_no_number_are_never_the_best() -> None:
    second = STARTED.model_copy(update={"number": 1})
    told: list[SweepEvent] = [
        STARTED,
        second,
        report(20, 0.1),
        report(20, math.nan, number=1),
        TrialEnd(number=0, status="failed"),
    ]
    assert standing_of(start(), told).best is None


def test_step_that_is_made_again_counts_as_it_went_last() -> None:
    lost = TrialPreempted(number=0, message="gone", step=20, reached=33)
    found = standing_of(start(), [STARTED, report(20, 3.0), report(30, 2.0), lost, report(30, 2.5)]).trials[0]
    assert [(one.step, one.objective) for one in found.points] == [(20, 3.0), (30, 2.5)]
    assert (found.preempted, found.redone_steps, found.failures, found.status) == (1, 13, 0, "running")


def test_error_that_is_tried_again_keeps_the_trial_at_work() -> None:
    found = standing_of(start(), [STARTED, TrialFailed(number=0, message="boom", log=("a", "b"))]).trials[0]
    assert (found.status, found.failures, found.log) == ("running", 1, ("a", "b"))


def test_cost_of_a_trial_never_falls() -> None:
    found = standing_of(
        start(), [STARTED, report(20, 3.0, usd=0.2), TrialEnd(number=0, status="pruned", cost_usd=0.25)]
    )
    assert (found.usd, found.left_usd) == (0.25, 0.25)


def test_sweep_that_goes_on_has_the_new_limits() -> None:
    spec = TuneSpec.of(**{**SPEC, "budget_usd": 9.0}).model_dump(mode="json")
    ended = SweepEnd(status="stopped", message="stopped on request")
    found = standing_of(start(), [ended, SweepResumed(process=PROCESS, spec=spec)])
    assert (found.status, found.resumed, found.spec.budget_usd) == ("running", 1, 9.0)


def test_rungs_say_how_many_came_and_how_many_went_on() -> None:
    found = standing(ended=True)
    assert [one.step for one in found.rungs] == [20, 40, 80]
    assert found.rungs[0].reached == 18, "all but the one without a report, and the one that was no number"
    assert all(one.passed <= one.reached for one in found.rungs)
    assert [one.reached for one in found.rungs[1:]] == [one.passed for one in found.rungs[:-1]]
    assert found.rungs[-1].passed == found.count("finished")
    assert standing(scheduler="none").rungs == ()


def test_share_of_steps_that_were_not_taken() -> None:
    told: list[SweepEvent] = [STARTED, report(40, 1.0), TrialEnd(number=0, status="pruned", step=40, objective=1.0)]
    assert standing_of(start(), told).saved == pytest.approx(0.75)


def test_same_records_make_the_same_standing() -> None:
    assert standing_of(start(), events()) == standing_of(start(), events())


def test_summary_is_plain_data() -> None:
    import json

    found = summary(standing())
    assert json.loads(json.dumps(found))["best"]["run"] == found["best"]["run"]
    assert {one["status"] for one in found["trials"]} >= {"finished", "pruned", "failed"}
