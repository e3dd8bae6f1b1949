"""A sweep as its records tell it, and its beginning: anew, or where an earlier driver left it."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tradewind.clusters import RaySession, is_gone, this_process
from tradewind.clusters.local import is_local
from tradewind.errors import ConflictError, NotFoundError, RunError, SpecError, TradewindError, did_you_mean
from tradewind.ledger import this_team
from tradewind.records import (
    Machine,
    ProcessName,
    SweepEnd,
    SweepEvent,
    SweepResumed,
    SweepStart,
    SweepStatus,
    TrialStart,
)
from tradewind.specs import TuneSpec
from tradewind.specs.tune import CHANGEABLE
from tradewind.storage import Store
from tradewind.tuning import nursery
from tradewind.tuning.budget import BudgetGuard, Estimate
from tradewind.tuning.journal import FOLDER, Journal, SweepFiles
from tradewind.tuning.prices import Choice, PriceGuard
from tradewind.tuning.quotes import machine_quote
from tradewind.tuning.slots import folder_of
from tradewind.tuning.standing import Standing, TrialStanding, standing_of
from tradewind.tuning.work import TRAIN, Work
from tradewind.versions import versions_of

if TYPE_CHECKING:
    from tradewind.training import Run

LIBRARIES = ("ray", "torch", "optuna", "cmaes", "tradewind")
POLL_S = 0.3
HOUR_S = 3600.0


class Sweep:
    """A sweep of this workspace."""

    def __init__(self, store: Store, name: str, driver: threading.Thread | None = None) -> None:
        self.files = SweepFiles(store, name)
        self.name = name
        self._driver = driver
        self.error: Exception | None = None
        """What ended the driver, where it is of this process."""

    @property
    def record(self) -> SweepStart:
        return self.files.start()

    def events(self) -> list[SweepEvent]:
        """All that happened, in order."""
        return list(self.files.events())

    def standing(self) -> Standing:
        """What the records come to."""
        return standing_of(self.record, self.events())

    @property
    def spec(self) -> TuneSpec:
        """As it was when the sweep went on last."""
        return _newest_spec(self.record, self.events())

    @property
    def status(self) -> SweepStatus:
        """`stopped` also when the process that drove it is gone without a word."""
        return _status(self.record, self.events())

    @property
    def best(self) -> TrialStanding:
        """The trial with the best objective. Raises NotFoundError before the first report."""
        found = self.standing().best
        if found is None:
            raise NotFoundError(f"sweep {self.name} has no result yet", hint=f"watch it: tw tune show {self.name}")
        return found

    @property
    def best_run(self) -> Run:
        from tradewind.training import Run

        return Run(self.files.store, self.best.run)

    def stop(self) -> None:
        """Ask all trials to leave behind a checkpoint. The sweep can go on. Raises SpecError when it has ended."""
        if self.status != "running":
            raise SpecError(f"sweep {self.name} does not run: it is {self.status}", hint="nothing is to be done")
        self.files.ask_to_stop()

    def wait(self, look: Callable[[Standing], object] | None = None) -> Self:
        """Until it ends; `look` is called with how it stands, now and then. Raises RunError when it failed."""
        try:
            while self._goes_on():
                time.sleep(POLL_S)
                if look:
                    look(self.standing())
        except KeyboardInterrupt:
            self.files.ask_to_stop()
            raise
        if self.error:
            raise self.error
        if look:
            look(self.standing())
        end = next((one for one in reversed(self.events()) if isinstance(one, SweepEnd)), None)
        if end is None:
            raise RunError(f"sweep {self.name} was stopped: the process that drove it is gone", hint=_again(self.name))
        if end.status == "failed":
            raise RunError(end.message)
        return self

    def _goes_on(self) -> bool:
        return self._driver.is_alive() if self._driver else self.status == "running"


def _again(name: str) -> str:
    return f"go on: tw tune resume {name}"


def names(store: Store) -> list[str]:
    """The sweeps of a workspace."""
    return store.folders(FOLDER)


def find(store: Store, name: str) -> Sweep:
    """Raises NotFoundError with the nearest name."""
    known = names(store)
    if name not in known:
        raise NotFoundError(f"no sweep named {name!r}{did_you_mean(name, known)}")
    return Sweep(store, name)


@dataclass(frozen=True)
class Tuning:
    """What a sweep needs of its workspace. `connect` gives a Ray with room for some workers.

    `prices` says what a machine costs now; without it, this one's own price counts.
    """

    store: Store
    machine: Machine
    connect: Callable[[int], RaySession]
    work: Work = TRAIN
    prices: Callable[[], Choice] | None = None

    def start(self, spec: TuneSpec, *, anyway: bool = False) -> Sweep:
        """Begin a sweep and return at once, or go on with the one of that name.

        Raises SpecError where a sweep of that name searches otherwise, or runs; QuotaError for a budget that is too
        small for one trial; and what `training.prepare` raises.
        """
        if spec.name in names(self.store):
            return self.resume(Sweep(self.store, spec.name), spec, anyway=anyway)
        from tradewind.training.data import newest_versions
        from tradewind.training.trainer import prepare

        prepare(self.store, spec.train)
        estimate = self._estimate(spec)
        _budget(spec).check_first(estimate)
        record = SweepStart(
            sweep=spec.name,
            spec=spec.model_dump(mode="json"),
            machine=self.machine,
            process=this_process(),
            versions=versions_of(LIBRARIES),
            team=this_team(),
            estimate_usd=estimate.usd,
            datasets=newest_versions(self.store, spec.train),
        )
        files = SweepFiles(self.store, spec.name)
        self.store.create(files.key("sweep.json"), record.to_json())
        return self._driven(files, spec, record.datasets, [], estimate)

    def resume(self, sweep: Sweep, spec: TuneSpec | None = None, *, anyway: bool = False) -> Sweep:
        """Go on with a sweep that has ended or whose driver is gone; `spec` may change its limits.

        `anyway` also takes up one that is thought to run elsewhere.
        """
        record, events = sweep.record, sweep.events()
        before = _newest_spec(record, events)
        spec = spec or before
        _check_same(before, spec)
        if _status(record, events) == "running" and not anyway:
            where = _driver_of(record, events).host
            raise SpecError(
                f"sweep {sweep.name} runs, driven from {where}",
                hint=f"tw tune stop {sweep.name}; or --anyway, when {where} is known to be gone",
            )
        ended = any(isinstance(one, SweepEnd) for one in events[-1:])
        if ended and spec == before and _is_complete(events):
            return sweep
        estimate = self._estimate(spec)
        sweep.files.forget_stop()
        return self._driven(sweep.files, spec, record.datasets, events, estimate)

    def _driven(
        self,
        files: SweepFiles,
        spec: TuneSpec,
        datasets: Mapping[str, float],
        events: list[SweepEvent],
        estimate: Estimate,
    ) -> Sweep:
        last = max(files.pages.numbers(), default=0)
        journal = Journal(files, last)
        if events:
            journal.say(SweepResumed(process=this_process(), spec=spec.model_dump(mode="json")))
            journal.write()  # from here on, an earlier driver that still lives finds out
        sweep, name = Sweep(files.store, files.sweep), uuid.uuid4().hex
        if spec.train.workers == 1 and is_local():  # loading takes seconds, and Ray's start as well
            nursery.begin(folder_of(self.work, name), self.work.modules)
        try:  # in this thread: the kernel ends the processes of a Ray with the thread that has started them
            session = self.connect(spec.parallel * spec.train.workers if spec.train.workers > 1 else 1)
        except Exception as exc:
            _record_failure(journal, exc)
            raise

        def drive() -> None:
            try:
                self._drive(files, spec, datasets, events, estimate, journal, name, session)
            except Exception as exc:  # noqa: BLE001 - the end of the thread: `wait` raises it, the records have it
                sweep.error = exc
                _record_failure(journal, exc)
            finally:
                nursery.end(folder_of(self.work, name))

        thread = threading.Thread(target=drive, name=f"sweep {files.sweep}", daemon=True)
        sweep._driver = thread
        thread.start()
        return sweep

    def _drive(
        self,
        files: SweepFiles,
        spec: TuneSpec,
        datasets: Mapping[str, float],
        events: list[SweepEvent],
        estimate: Estimate,
        journal: Journal,
        name: str,
        session: RaySession,
    ) -> None:
        from tradewind.tuning.room import room

        slots, share = room(spec, session, self.work, name)
        slots.fill()  # they start while the rest is loaded
        from tradewind.training.driving import nodes
        from tradewind.tuning.driver import Driver
        from tradewind.tuning.guarding import Guarding
        from tradewind.tuning.trial import Trials

        guarding = Guarding(
            _budget(spec),
            estimate,
            self.prices or (lambda: PriceGuard(cap=spec.max_price).choose(machine_quote(self.machine))),
            share=share,
            driven_s=_driven_s(events),
        )
        trials = Trials(files.store, spec, datasets, share)
        driver = Driver(files, spec, trials, journal, guarding, events=events, draining=nodes.draining)
        driver.drive(slots)

    def _estimate(self, spec: TuneSpec) -> Estimate:
        """Of one trial on one machine like this, by the planner; nothing where it can say nothing."""
        from tradewind.planner.prediction import predict

        found = predict(self.store, spec.train, self.machine)
        if found is None:
            return Estimate(0.0, 0.0, 0.0, "nothing is known")
        seconds = found.seconds.value
        machine_s = seconds * spec.train.workers
        if self.prices is None or is_local():
            return Estimate(found.usd.value, seconds, machine_s, found.basis)
        return Estimate(machine_s * self.prices().usd_per_hour / HOUR_S, seconds, machine_s, found.basis)


def _budget(spec: TuneSpec) -> BudgetGuard:
    hours = spec.budget_hours
    return BudgetGuard(limit_usd=spec.budget_usd, limit_s=None if hours is None else hours * HOUR_S)


def _check_same(before: TuneSpec, spec: TuneSpec) -> None:
    """Raises SpecError where what a sweep searches has changed."""
    old, new = before.model_dump(mode="json"), spec.model_dump(mode="json")
    changed = [key for key in old if key not in CHANGEABLE and old[key] != new[key]]
    if changed:
        raise SpecError(
            f"sweep {spec.name} was begun with another {' and '.join(changed)}",
            hint=f"choose another name; only {', '.join(CHANGEABLE)} may change",
        )


def _newest_spec(record: SweepStart, events: list[SweepEvent]) -> TuneSpec:
    resumed = next((one for one in reversed(events) if isinstance(one, SweepResumed)), None)
    return TuneSpec.model_validate(resumed.spec if resumed else record.spec)


def _driver_of(record: SweepStart, events: list[SweepEvent]) -> ProcessName:
    resumed = next((one for one in reversed(events) if isinstance(one, SweepResumed)), None)
    return resumed.process if resumed else record.process


def _status(record: SweepStart, events: list[SweepEvent]) -> SweepStatus:
    last = next((one for one in reversed(events) if isinstance(one, SweepEnd | SweepResumed)), None)
    if isinstance(last, SweepEnd):
        return last.status
    return "stopped" if is_gone(_driver_of(record, events)) else "running"


def _is_complete(events: list[SweepEvent]) -> bool:
    """Whether a sweep has ended because nothing was left to try."""
    last = events[-1]
    begun = {one.number for one in events if isinstance(one, TrialStart)}
    ended = {one.number for one in events if one.what == "end"}
    return isinstance(last, SweepEnd) and last.status == "finished" and not last.message and begun == ended


def _driven_s(events: list[SweepEvent]) -> float:
    """How long drivers were at work, by the times of their events."""
    total, began = 0.0, None
    for before, event in zip([None, *events], events, strict=False):
        if began is None:
            began = event.at
        elif isinstance(event, SweepResumed) and before is not None:
            total += (before.at - began).total_seconds()
            began = event.at
    return total + ((events[-1].at - began).total_seconds() if began else 0.0)


def _record_failure(journal: Journal, exc: Exception) -> None:
    """Have the records say why the driver ended, unless another one drives now."""
    if isinstance(exc, ConflictError):
        return
    message = exc.message if isinstance(exc, TradewindError) else f"{type(exc).__name__}: {exc}"
    journal.say(SweepEnd(status="failed", message=message))
    journal.write()
