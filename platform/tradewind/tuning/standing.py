"""How a sweep stands, worked out from its records: for people to look at, while it runs and afterwards.

Nothing here reads a store, and nothing is decided: the records in, their meaning out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from tradewind.records.sweep import (
    SweepEnd,
    SweepEvent,
    SweepGuarded,
    SweepResumed,
    SweepStart,
    SweepStatus,
    TrialEnd,
    TrialFailed,
    TrialPreempted,
    TrialReport,
    TrialStart,
    TrialStatus,
)
from tradewind.specs.tune import TuneSpec


@dataclass(frozen=True)
class Point:
    """The objective at a checkpoint, and what the trial had taken until then."""

    step: int
    objective: float
    seconds: float
    machine_s: float
    usd: float
    at: datetime


@dataclass(frozen=True)
class TrialStanding:
    number: int
    values: Mapping[str, Any]
    run: str
    started_at: datetime
    parent: int | None = None
    status: TrialStatus = "running"
    points: tuple[Point, ...] = ()
    """By step. A step that was made again counts as it went last."""
    final: float | None = None
    """The objective that its end states."""
    step: int = 0
    """The last one that was told of."""
    usd: float = 0.0
    machine_s: float = 0.0
    preempted: int = 0
    noticed: int = 0
    """Of those, how often it was told before."""
    redone_steps: int = 0
    failures: int = 0
    message: str = ""
    log: tuple[str, ...] = ()
    ended_at: datetime | None = None

    def objective(self, *, minimize: bool) -> float | None:
        """The best that it reached; None where it has said nothing yet, or nothing that is a number."""
        if self.final is not None and math.isfinite(self.final):
            return self.final
        reached = [one.objective for one in self.points if math.isfinite(one.objective)]
        return (min(reached) if minimize else max(reached)) if reached else None


@dataclass(frozen=True)
class Rung:
    """What has come to a step, and what went on from it."""

    step: int
    reached: int
    passed: int
    """Trials that were told of beyond it, or finished there."""
    best: float | None


@dataclass(frozen=True)
class Standing:
    start: SweepStart
    spec: TuneSpec
    """As it was when the sweep went on last."""
    trials: tuple[TrialStanding, ...] = ()
    guarded: tuple[SweepGuarded, ...] = ()
    """Changes of the guards' minds, in order."""
    ends: tuple[SweepEnd, ...] = ()
    resumed: int = 0
    as_of: datetime | None = None
    status: SweepStatus = "running"

    @property
    def name(self) -> str:
        return self.start.sweep

    @property
    def minimizes(self) -> bool:
        return self.spec.goal == "minimize"

    @property
    def ranked(self) -> list[TrialStanding]:
        """Best first; those that have said nothing last, in order."""

        def rank(trial: TrialStanding) -> tuple[bool, float, int]:
            found = self.objective(trial)
            return found is None, 0.0 if found is None else found * (1 if self.minimizes else -1), trial.number

        return sorted(self.trials, key=rank)

    @property
    def best(self) -> TrialStanding | None:
        """Of those that did not fail."""
        alive = (one for one in self.ranked if one.status != "failed" and self.objective(one) is not None)
        return next(alive, None)

    def objective(self, trial: TrialStanding) -> float | None:
        return trial.objective(minimize=self.minimizes)

    @property
    def preempted(self) -> int:
        """Workers that were lost, or left on a notice."""
        return sum(one.preempted for one in self.trials)

    def count(self, status: TrialStatus) -> int:
        return sum(one.status == status for one in self.trials)

    def newest(self, guard: Literal["price", "budget"]) -> SweepGuarded | None:
        """What a guard decided last."""
        return next((one for one in reversed(self.guarded) if one.guard == guard), None)

    @property
    def saved(self) -> float:
        """The share of all steps that trials which were stopped early, or failed, did not take."""
        steps, ended = self.spec.train.max_steps, [one for one in self.trials if one.ended_at]
        return math.fsum(1 - min(1.0, one.step / steps) for one in ended) / (len(ended) or 1)

    @property
    def usd(self) -> float:
        """What all trials have cost, as far as they have told."""
        return math.fsum(one.usd for one in self.trials)

    @property
    def machine_s(self) -> float:
        return math.fsum(one.machine_s for one in self.trials)

    @property
    def left_usd(self) -> float | None:
        """Of the budget; None without one."""
        return None if self.spec.budget_usd is None else max(0.0, self.spec.budget_usd - self.usd)

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """Of a scheduler that has them: grace · reduction^k steps.

        Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020, algorithm 2.
        """
        wish, last = self.spec.scheduler, self.spec.train.max_steps
        if wish.kind != "asha":
            return ()
        steps, step = [], wish.grace_steps
        while step < last:
            steps.append(step)
            step *= wish.reduction
        return tuple(self._rung(step, then) for step, then in zip(steps, [*steps[1:], last], strict=True))

    def _rung(self, step: int, then: int) -> Rung:
        at = (next((point for point in one.points if point.step >= step), None) for one in self.trials)
        values = [point.objective for point in at if point and math.isfinite(point.objective)]
        told = ((one, one.points[-1].step) for one in self.trials if one.points)
        passed = sum(last > step and (last >= then or one.status != "pruned") for one, last in told)
        best = (min(values) if self.minimizes else max(values)) if values else None
        return Rung(step, len(values), min(passed, len(values)), best)


def standing_of(start: SweepStart, events: Iterable[SweepEvent]) -> Standing:
    """What the records of a sweep, in their order, come to."""
    trials: dict[int, TrialStanding] = {}
    found = Standing(start, TuneSpec.model_validate(start.spec), as_of=start.created_at)
    for event in events:
        found = replace(found, as_of=event.at)
        if isinstance(event, TrialStart):
            known = trials.get(event.number)
            trials[event.number] = known or TrialStanding(
                event.number, event.values, event.run, event.at, parent=event.parent
            )
        elif isinstance(event, TrialReport | TrialPreempted | TrialFailed | TrialEnd):
            if event.number in trials:
                trials[event.number] = _after(trials[event.number], event)
        else:
            found = _told(found, event)
    return replace(found, trials=tuple(trials[number] for number in sorted(trials)))


def _told(found: Standing, event: SweepGuarded | SweepResumed | SweepEnd) -> Standing:
    """After an event of the sweep as a whole."""
    if isinstance(event, SweepGuarded):
        return replace(found, guarded=(*found.guarded, event))
    if isinstance(event, SweepResumed):
        spec = TuneSpec.model_validate(event.spec)
        return replace(found, spec=spec, resumed=found.resumed + 1, status="running")
    return replace(found, ends=(*found.ends, event), status=event.status)


def _after(trial: TrialStanding, event: TrialReport | TrialPreempted | TrialFailed | TrialEnd) -> TrialStanding:
    if isinstance(event, TrialReport):
        point = Point(event.step, event.objective, event.seconds, event.machine_s, event.cost_usd, event.at)
        before = tuple(one for one in trial.points if one.step < event.step)
        return replace(
            trial, points=(*before, point), step=event.step, usd=max(trial.usd, event.cost_usd),
            machine_s=max(trial.machine_s, event.machine_s), status="running",
        )  # fmt: skip
    if isinstance(event, TrialPreempted):
        redone = max(0, event.reached - event.step)
        return replace(
            trial, preempted=trial.preempted + 1, noticed=trial.noticed + event.noticed,
            redone_steps=trial.redone_steps + redone, message=event.message,
        )  # fmt: skip
    if isinstance(event, TrialFailed):
        return replace(trial, failures=trial.failures + 1, message=event.message, log=event.log)
    return replace(
        trial, status=event.status, final=event.objective, step=event.step or trial.step, ended_at=event.at,
        usd=max(trial.usd, event.cost_usd), machine_s=max(trial.machine_s, event.machine_s),
        message=event.message, log=event.log or trial.log,
    )  # fmt: skip


def changed_keys(trials: Sequence[TrialStanding]) -> list[str]:
    """Parameters in the order in which they first appear."""
    return list(dict.fromkeys(key for trial in trials for key in trial.values))


def summary(standing: Standing) -> dict[str, Any]:
    """How it stands as plain data, for programs."""
    best = standing.best
    return {
        "sweep": standing.name,
        "status": standing.status,
        "objective": standing.spec.objective,
        "best": _plain(standing, best) if best else None,
        "trials": [_plain(standing, one) for one in standing.trials],
        "usd": standing.usd,
        "budget_usd": standing.spec.budget_usd,
        "left_usd": standing.left_usd,
        "machine_s": standing.machine_s,
        "guards": [one.model_dump(mode="json") for one in standing.guarded],
        "resumed": standing.resumed,
    }


def _plain(standing: Standing, trial: TrialStanding) -> dict[str, Any]:
    return {
        "number": trial.number,
        "status": trial.status,
        "values": dict(trial.values),
        "run": trial.run,
        "objective": standing.objective(trial),
        "step": trial.step,
        "usd": trial.usd,
        "machine_s": trial.machine_s,
        "preempted": trial.preempted,
        "redone_steps": trial.redone_steps,
        "failures": trial.failures,
        "message": trial.message,
        "log": list(trial.log),
    }
