"""Drives a sweep: asks for configurations, gives them to slots, reads what their runs report, and decides.

One loop and one thread decide everything, in an order that is written down before it has effect; so a driver that
continues from the records knows all that this one knew. A turn of the loop reads what is there and never waits for a
trial.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from tradewind.errors import QuotaError, SpecError, StorageError, TradewindError, did_you_mean
from tradewind.records import (
    StepMetrics,
    StopRequest,
    SweepEnd,
    SweepEvent,
    SweepGuarded,
    TrialEnd,
    TrialFailed,
    TrialPreempted,
    TrialReport,
    TrialStart,
)
from tradewind.specs import TuneSpec
from tradewind.training.control import is_asked_to_stop
from tradewind.training.job import Job
from tradewind.training.run import STOP, MetricsReader, RunFiles
from tradewind.tuning.groups import Groups
from tradewind.tuning.guarding import Guarding
from tradewind.tuning.journal import Journal, SweepFiles
from tradewind.tuning.outcome import Outcome
from tradewind.tuning.search import Search
from tradewind.tuning.slots import Slots
from tradewind.tuning.trial import Trials

POLL_S = 0.1
READ_EVERY_S = 0.25
READ_AFAR_EVERY_S = 1.0
"""Where the store is not a folder of this machine, and each look is a request."""
LOOK_EVERY_S = 0.5
LOST_IN_A_ROW = 5
"""A worker that is lost so often without a step more is killed by the trial itself."""
_log = logging.getLogger(__name__)


@dataclass
class Live:
    """A trial without an end."""

    number: int
    values: dict[str, Any]
    run: str
    job: Job | None = None
    reader: MetricsReader | None = None
    place: Any = None
    began: float = 0.0
    looked: float = 0.0
    told: int = 0
    """The step of the last report."""
    reached: int = 0
    best: float | None = None
    machine_s: float = 0.0
    cost_usd: float = 0.0
    failures: int = 0
    lost: list[int] = field(default_factory=list)
    """Steps of the checkpoint that it went on from, each time that its worker was lost."""
    verdict: tuple[Literal["pruned", "failed"], str] | None = None
    """What it ends as, once its worker has stopped."""
    leaves: str = ""
    """Why it was asked to leave and not to come back."""
    is_refused: bool = False
    """By a guard, when it wanted to go on."""

    @property
    def works(self) -> bool:
        return self.place is not None


class Driver:
    """`events` is all that happened before, in order."""

    def __init__(
        self,
        files: SweepFiles,
        spec: TuneSpec,
        trials: Trials,
        journal: Journal,
        guarding: Guarding,
        *,
        events: Iterable[SweepEvent] = (),
        draining: Callable[[], dict[str, float | None]] = dict,
    ) -> None:
        self._files = files
        self._spec = spec
        self._trials = trials
        self._journal = journal
        self._guarding = guarding
        self._draining = draining
        self._search = Search(spec)
        self._live: dict[int, Live] = {}
        self._runs: dict[int, str] = {}
        self._parked: list[Live] = []
        self._next = 0
        self._spent_usd = self._spent_s = 0.0
        self._best: tuple[float, int] | None = None
        self._closing: tuple[Literal["finished", "stopped", "failed"], str] | None = None
        self._looked = 0.0
        self._endings = ThreadPoolExecutor(1, thread_name_prefix="tradewind-endings")
        self._read_every_s = READ_EVERY_S if files.store.local_path("x") else READ_AFAR_EVERY_S
        for event in events:
            self._recall(event)

    def drive(self, slots: Slots | Groups) -> SweepEnd:
        """To the end of the sweep. Raises ConflictError when another driver has taken over."""
        self._slots = slots
        try:
            while True:
                self._turn()
                if end := self._ending():
                    self._endings.shutdown(wait=True)  # of runs, before that of the sweep
                    self._journal.say(end)
                    self._journal.write()
                    return end
                slots.wait(POLL_S)
        finally:
            slots.close()
            self._endings.shutdown(wait=True)

    def _turn(self) -> None:
        self._slots.fill()
        self._slots.welcome()
        for live in [one for one in self._live.values() if one.works]:
            outcome = live.place.outcome()
            if outcome or time.monotonic() - live.looked >= self._read_every_s:
                self._read(live)
            if outcome:
                self._conclude(live, outcome)
        if time.monotonic() - self._looked >= LOOK_EVERY_S:
            self._looked = time.monotonic()
            self._look_around()
        if not self._closing:
            self._place()
        try:
            self._journal.write()
        except StorageError as exc:
            _log.warning("%s; what happened is written later", exc.message)

    # -- what was, and what is said

    def _say(self, event: SweepEvent) -> bool:
        """Have it written, and tell the search; its answer to a report is whether to stop the trial."""
        self._journal.say(event)
        return self._search.hear(event)

    def _recall(self, event: SweepEvent) -> None:
        """Know again what an earlier driver knew."""
        stop = self._search.hear(event)
        if isinstance(event, TrialStart):
            self._next = max(self._next, event.number + 1)
            self._runs[event.number] = event.run
            self._live[event.number] = Live(event.number, event.values, event.run)
        elif isinstance(event, TrialReport):
            live = self._live[event.number]
            self._note(live, event)
            live.machine_s, live.cost_usd = event.machine_s, event.cost_usd
            live.verdict = ("pruned", f"at step {event.step}") if stop else live.verdict
        elif isinstance(event, TrialFailed):
            self._live[event.number].failures += 1
        elif isinstance(event, TrialPreempted) and not event.noticed:
            self._live[event.number].lost.append(event.step)
        elif isinstance(event, TrialEnd):
            self._spent_usd += event.cost_usd
            self._spent_s += event.machine_s
            self._live.pop(event.number)

    def _note(self, live: Live, event: TrialReport) -> None:
        """Keep the best values, of the trial and of all."""
        sign = 1 if self._spec.goal == "minimize" else -1
        live.told = event.step
        live.reached = max(live.reached, event.step)
        if live.best is None or sign * event.objective < sign * live.best:
            live.best = event.objective
        if self._best is None or sign * event.objective < sign * self._best[0]:
            self._best = event.objective, event.number

    # -- reading

    def _read(self, live: Live) -> None:
        """What a trial's run has written since the last time. A store that does not answer is asked again later."""
        assert live.reader
        live.looked = time.monotonic()
        try:
            rows = live.reader.new()
        except StorageError:
            return
        for row in rows:
            live.reached = max(live.reached, row.step)
            if live.verdict or self._closing:
                continue
            self._take(live, row)

    def _take(self, live: Live, row: StepMetrics) -> None:
        """One step of a trial."""
        name = self._spec.objective
        if name not in StepMetrics.model_fields:
            numbers = [key for key, value in row.model_dump().items() if isinstance(value, float)]
            self._close("failed", f"the runs report no {name!r}{did_you_mean(name, numbers)}")
            return
        if row.heldout_loss is None or row.step <= live.told:
            return
        value = getattr(row, name)
        if not isinstance(value, int | float):
            self._close("failed", f"the runs do not say {name!r} here, as the checkpoint of step {row.step} shows")
        elif not math.isfinite(value):
            self._stop(live, "failed", f"{name} is {value} at step {row.step}")
        else:
            self._account(live)
            report = TrialReport(
                number=live.number, step=row.step, objective=float(value), seconds=row.seconds,
                machine_s=live.machine_s, cost_usd=live.cost_usd,
            )  # fmt: skip
            self._note(live, report)
            if self._say(report):
                self._stop(live, "pruned", f"at step {row.step}")

    def _account(self, live: Live) -> None:
        """Count the time of its worker until now."""
        if live.works:
            moment = time.monotonic()
            seconds = (moment - live.began) * self._spec.train.workers
            live.machine_s += seconds
            live.cost_usd += seconds * self._guarding.usd_per_machine_s
            live.began = moment

    def _stop(self, live: Live, status: Literal["pruned", "failed"], message: str) -> None:
        """Let a trial end: its run is asked to stop, as a person would ask."""
        live.verdict = (status, message)
        assert live.job
        files = RunFiles(live.job.store, live.run)
        request = StopRequest(run=live.run, host="", parents=(f"run:{live.run}",))
        files.store.put(files.key(STOP), request.to_json())

    # -- ends of work

    def _conclude(self, live: Live, outcome: Outcome) -> None:
        """A trial's worker has returned, or is gone."""
        self._account(live)
        goes = outcome.slot_is_gone or outcome.noticed or live.place.node in self._draining()
        (self._slots.drop if goes else self._slots.give_back)(live.place)
        live.place = None
        if live.verdict:
            self._end(live, *live.verdict)
        elif live.leaves and outcome.kind in ("done", "left", "lost"):
            self._park(live)
        elif outcome.kind == "done":
            self._finished(live)
        elif outcome.kind == "failed":
            self._failed(live, outcome)
        else:
            self._preempted(live, outcome)

    def _finished(self, live: Live) -> None:
        assert live.job
        if live.best is None:
            self._end(live, "failed", f"it has ended without a {self._spec.objective}")
        elif is_asked_to_stop(RunFiles(live.job.store, live.run)):
            self._end(live, "pruned", "its run was stopped on request")
        else:
            self._end(live, "finished", "")

    def _failed(self, live: Live, outcome: Outcome) -> None:
        """Try again, or end the configuration; the sweep goes on either way."""
        live.failures += 1
        if outcome.may_retry and live.failures <= self._spec.max_failures:
            self._say(TrialFailed(number=live.number, message=outcome.message, log=outcome.log))
            return
        times = f" ({live.failures} times)" if live.failures > 1 else ""
        self._end(live, "failed", f"{outcome.message}{times}", log=outcome.log)

    def _preempted(self, live: Live, outcome: Outcome) -> None:
        """The trial goes on elsewhere; unless it is what kills its workers."""
        step = self._checkpoint_of(live)
        noticed = outcome.kind == "left"
        self._say(
            TrialPreempted(
                number=live.number, message=outcome.message, noticed=noticed, step=step, reached=max(step, live.reached)
            )
        )
        live.reached = step
        if not noticed:
            live.lost.append(step)
            if live.lost[-LOST_IN_A_ROW:] == [step] * LOST_IN_A_ROW:
                message = f"its worker was lost {LOST_IN_A_ROW} times in a row at step {step}: {outcome.message}"
                self._end(live, "failed", message)

    def _checkpoint_of(self, live: Live) -> int:
        try:
            last = next(reversed(RunFiles(self._files.store, live.run).checkpoints()), None)
        except TradewindError:
            return 0
        return last.step if last else 0

    def _park(self, live: Live) -> None:
        """It has left and is not to come back before the sweep goes on."""
        assert live.job
        self._live.pop(live.number)
        self._parked.append(live)
        self._endings.submit(self._trials.interrupt, live.job, live.leaves)

    def _end(
        self,
        live: Live,
        status: Literal["finished", "pruned", "failed"],
        message: str,
        *,
        log: tuple[str, ...] = (),
    ) -> None:
        self._live.pop(live.number, None)
        self._spent_usd += live.cost_usd
        self._spent_s += live.machine_s
        end = TrialEnd(
            number=live.number, status=status, objective=live.best, step=live.reached, cost_usd=live.cost_usd,
            machine_s=live.machine_s, message=message, log=log,
        )  # fmt: skip
        self._say(end)
        self._guarding.learn(live.machine_s, live.reached / self._spec.train.max_steps)
        if live.job:
            self._endings.submit(_finish, self._trials, live.job, message if status == "failed" else "")

    # -- beginnings of work

    def _place(self) -> None:
        """Give free slots to trials that were begun, and then to new ones."""
        for live in [one for one in self._live.values() if not one.works and not one.verdict]:
            if self._has_room(live):
                self._resume(live)
        while not self._closing and self._next < self._search.most and self._may_begin():
            place = self._slots.take()
            if place is None:
                return
            self._begin(place)

    def _has_room(self, live: Live) -> bool:
        """Whether the guards let a trial go on that had to leave. What it still needs is less than a new one needs."""
        share = max(0.0, 1 - live.reached / self._spec.train.max_steps)
        refusal = self._guarding.admit(self._going(), self.spent_usd, share=share)
        live.is_refused = refusal is not None and not self._admitted(refusal)
        return not live.is_refused

    def _may_begin(self) -> bool:
        return self._admitted(self._guarding.admit(self._going(), self.spent_usd))

    def _admitted(self, refusal: SweepGuarded | None) -> bool:
        """Whether a guard lets work begin. A changed mind is written down."""
        if event := self._guarding.changed(refusal):
            self._say(event)
        return refusal is None

    def _resume(self, live: Live) -> bool:
        """Let a trial go on from its last checkpoint. False where there is no slot for it."""
        place = self._slots.take()
        if place is None:
            return False
        try:
            live.job = live.job or self._trials.resume(live.run)
        except TradewindError as exc:
            self._slots.give_back(place)
            if exc.remedy == "fix":
                self._end(live, "failed", exc.message)
            return False
        live.reader = live.reader or MetricsReader(RunFiles(self._files.store, live.run))
        if live.job is None:  # it was finished, and only its end is not written
            self._slots.give_back(place)
            self._read(live)
            self._end(live, "finished" if live.best is not None else "failed", "")
            return False
        self._work(live, place)
        return True

    def _begin(self, place: Any) -> None:
        """Ask for a configuration and start it."""
        number = self._next
        values, parent = self._search.ask(number)
        live, message = Live(number, values, ""), ""
        try:
            live.job = self._trials.begin(number, values, parent=None if parent is None else self._runs.get(parent))
            live.run = live.job.run
        except (SpecError, QuotaError) as exc:
            message = exc.message
            if isinstance(exc, QuotaError):
                self._slots.give_back(place)
                self._close("stopped", message)
                return
        except StorageError as exc:
            _log.warning("%s; trial %d begins later", exc.message, number)
            self._slots.give_back(place)
            return
        self._next += 1
        self._runs[number] = live.run
        self._live[number] = live
        self._say(TrialStart(number=number, values=values, run=live.run, parent=parent))
        if live.job is None:
            self._slots.give_back(place)
            self._end(live, "failed", message)
            return
        live.reader = MetricsReader(RunFiles(self._files.store, live.run))
        self._journal.write()
        self._work(live, place)

    def _work(self, live: Live, place: Any) -> None:
        live.place = place
        live.began = live.looked = time.monotonic()
        live.leaves = ""
        place.begin(live.job)

    # -- what comes from outside

    @property
    def spent_usd(self) -> float:
        """Of all trials, those at work included."""
        for live in self._live.values():
            self._account(live)
        return self._spent_usd + math.fsum(live.cost_usd for live in (*self._live.values(), *self._parked))

    def _going(self) -> list[tuple[int, float]]:
        """Trials at work, best first, with the share of their steps that is still to do."""
        sign, steps = 1 if self._spec.goal == "minimize" else -1, self._spec.train.max_steps
        working = [one for one in self._live.values() if one.works]
        working.sort(key=lambda one: math.inf if one.best is None else sign * one.best)
        return [(one.number, max(0.0, 1 - one.reached / steps)) for one in working]

    def _look_around(self) -> None:
        """For a wish to stop, nodes that go, and limits that are reached."""
        if not self._closing and self._files.is_asked_to_stop():
            self._close("stopped", "stopped on request")
        leaving = self._draining()
        for live in [one for one in self._live.values() if one.works and one.place.node in leaving]:
            live.place.leave(f"node {live.place.node[:8]} is drained", leaving[live.place.node])
        if self._closing:
            return
        self._guarding.look()
        told = self._guarding.leaving(self._going(), self.spent_usd)
        for number, reason in told.items():
            self._let_leave(self._live[number], reason)

    def _let_leave(self, live: Live, reason: str) -> None:
        if live.works and not live.leaves:
            live.leaves = reason
            live.place.leave(reason)

    def _close(self, status: Literal["finished", "stopped", "failed"], message: str) -> None:
        """Begin nothing more, and let all trials leave behind a checkpoint."""
        self._closing = self._closing or (status, message)
        for live in self._live.values():
            self._let_leave(live, message)

    def _ending(self) -> SweepEnd | None:
        """The end, once it has come."""
        for live in [one for one in self._live.values() if one.verdict and not one.works]:
            self._end(live, *live.verdict)  # type: ignore[misc]
        if any(live.works for live in self._live.values()):
            return None
        if self._closing:
            return self._ended(*self._closing)
        if self._guarding.is_paused or self._parked_by_price():
            return None
        if any(not live.is_refused for live in self._live.values()):
            return None
        if self._next >= self._search.most and not self._live and not self._parked:
            return self._ended("finished", "")
        if self._guarding.refusal:
            return self._ended("finished", self._guarding.refusal.message)
        return self._ended("finished", self._parked[0].leaves) if self._parked and not self._live else None

    def _parked_by_price(self) -> bool:
        """Trials that left for a price are taken up again when it is good."""
        back = [one for one in self._parked if one.leaves == self._guarding.PRICE]
        for live in back:
            self._parked.remove(live)
            live.job, live.leaves = None, ""
            self._live[live.number] = live
        return bool(back)

    def _ended(self, status: Literal["finished", "stopped", "failed"], message: str) -> SweepEnd:
        for live in self._live.values():
            if live.job:
                self._endings.submit(self._trials.interrupt, live.job, message or "the sweep has ended")
        objective, best = self._best or (None, None)
        return SweepEnd(
            status=status, message=message, best=best, objective=objective, cost_usd=self.spent_usd,
            machine_s=self._spent_s + math.fsum(one.machine_s for one in (*self._live.values(), *self._parked)),
        )  # fmt: skip


def _finish(trials: Trials, job: Job, failure: str) -> None:
    """In a thread of its own: what it cannot write is said, and the sweep's records have the end anyway."""
    try:
        trials.finish(job, failure=failure)
    except TradewindError as exc:
        _log.warning("the end of run %s was not written: %s", job.run, exc.message)
