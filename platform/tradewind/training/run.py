"""A training run as its records tell it: how it began, where it is, which checkpoints it has, how it ended.

All of it lives below `runs/<run>/` in the workspace, so any program that can read the workspace can watch a run.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from tradewind import progress
from tradewind.clusters import is_gone, this_process
from tradewind.errors import ConflictError, NotFoundError, RunError, SpecError, StorageError, did_you_mean
from tradewind.ledger import Ledger, effort, usage
from tradewind.planner.measurements import keep
from tradewind.planner.prediction import taught
from tradewind.records import (
    CheckpointRecord,
    ProcessName,
    RollbackRecord,
    RunEnd,
    RunResumed,
    RunStart,
    RunSummary,
    RunWorkers,
    Status,
    StepMetrics,
    StopRequest,
    Usage,
    now,
)
from tradewind.specs import TrainSpec
from tradewind.storage import Store
from tradewind.units import format_count

FOLDER = "runs"
STOP = "stop.json"
POLL_S = 0.5


@dataclass(frozen=True)
class RunFiles:
    """Where the records of one run are."""

    store: Store
    run: str

    def key(self, name: str) -> str:
        return f"{FOLDER}/{self.run}/{name}"

    def start(self) -> RunStart:
        return RunStart.from_json(self.store.get(self.key("run.json")), where=self.key("run.json"))

    def end(self) -> RunEnd | None:
        try:
            return RunEnd.from_json(self.store.get(self.key("end.json")), where=self.key("end.json"))
        except NotFoundError:
            return None

    def resumed(self) -> list[RunResumed]:
        """Each time that the run went on after an end, oldest first."""
        return [RunResumed.from_json(self.store.get(key), where=key) for key in self._keys("resumed")]

    def earlier_ends(self) -> list[RunEnd]:
        """Ends after which the run went on, oldest first. Each counts from the beginning of the run."""
        return [RunEnd.from_json(self.store.get(key), where=key) for key in self._keys("ends")]

    def rollbacks(self) -> list[RollbackRecord]:
        """Each time that the loss jumped and the weights went back, oldest first."""
        return [RollbackRecord.from_json(self.store.get(key), where=key) for key in self._keys("rollbacks")]

    def workers(self) -> RunWorkers | None:
        """The group of workers that started last; None before the first."""
        newest = next(reversed(self._keys("workers")), None)
        return RunWorkers.from_json(self.store.get(newest), where=newest) if newest else None

    def _keys(self, folder: str) -> list[str]:
        return sorted(item.key for item in self.store.list(self.key(folder)) if item.key.endswith(".json"))

    def checkpoints(self) -> list[CheckpointRecord]:
        """Complete checkpoints, oldest first."""
        return [CheckpointRecord.from_json(self.store.get(key), where=key) for key in self._keys("checkpoints")]

    def metrics(self) -> list[StepMetrics]:
        """Each step once, in order; of steps that were repeated after a lost worker, the last time counts."""
        return MetricsReader(self).new()


class MetricsReader:
    """Reads the metrics of a run as they are written, part by part."""

    def __init__(self, files: RunFiles) -> None:
        self._files = files
        self._seen: set[str] = set()
        self.attempts: list[str] = []
        self.used_s = 0.0
        """Seconds of all steps read so far, also of those that were made again, and of their checkpoints."""

    def new(self) -> list[StepMetrics]:
        """The steps written since the last call, in order, without what lost workers did after their checkpoint."""
        prefix = self._files.key("metrics")
        keys = sorted(item.key for item in self._files.store.list(prefix) if item.key not in self._seen)
        self._seen.update(keys)
        steps: dict[int, StepMetrics] = {}
        for row in (row for key in keys for row in self._rows(key)):
            self.used_s += _work_s(row) + row.stopped_seconds
            if row.attempt not in self.attempts:
                self.attempts.append(row.attempt)
                steps = {step: earlier for step, earlier in steps.items() if step < row.step}
            steps[row.step] = row
        return [steps[step] for step in sorted(steps)]

    @property
    def restarts(self) -> int:
        """How often workers were started again, as far as the steps read so far tell."""
        return max(0, len(self.attempts) - 1)

    def _rows(self, key: str) -> Iterator[StepMetrics]:
        for line in self._files.store.get(key).splitlines():
            yield StepMetrics.model_validate_json(line)


class Driver(threading.Thread):
    """Drives a run in this process. `error` says why it failed where no record could be written of it."""

    def __init__(self, drive: Callable[[], None], *, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._drive = drive
        self.error: RunError | None = None

    def run(self) -> None:
        try:
            self._drive()
        except RunError as exc:
            self.error = exc


class Run:
    """A run of this workspace."""

    def __init__(self, store: Store, run: str, driver: Driver | None = None) -> None:
        self.files = RunFiles(store, run)
        self.name = run
        self._driver = driver

    @property
    def record(self) -> RunStart:
        return self.files.start()

    @property
    def end(self) -> RunEnd | None:
        """How it ended; None while it runs."""
        return self.files.end()

    @property
    def status(self) -> Status:
        """`stopped` also when the process that drove it is gone without a word."""
        if end := self.end:
            return end.status
        return "stopped" if is_gone(self.driver) else "running"

    @property
    def driver(self) -> ProcessName:
        """The process that drives the run, or did last."""
        resumed = self.files.resumed()
        return resumed[-1].process if resumed else self.record.process

    def stop(self) -> None:
        """Ask for a last checkpoint and the end. The workers agree on it within some seconds.

        Raises SpecError for a run that has ended.
        """
        if self.status != "running":
            raise SpecError(f"run {self.name} does not run: it is {self.status}", hint="nothing is to be done")
        request = StopRequest(run=self.name, host=socket.gethostname(), parents=(f"run:{self.name}",))
        self.files.store.put(self.files.key(STOP), request.to_json())

    @property
    def checkpoints(self) -> list[CheckpointRecord]:
        return self.files.checkpoints()

    @property
    def best(self) -> CheckpointRecord:
        """The checkpoint with the lowest held-out loss. Raises NotFoundError when there is none yet."""
        found = best_of(self.checkpoints)
        if not found:
            raise NotFoundError(f"run {self.name} has no checkpoint", hint="the first comes after checkpoint_every_s")
        return found

    def metrics(self) -> list[StepMetrics]:
        return self.files.metrics()

    def wait(self) -> Self:
        """Follow the run to its end with a progress bar and the loss. Raises RunError when it failed or was stopped."""
        spec = TrainSpec.of(**self.record.spec)
        reader = MetricsReader(self.files)
        try:
            with progress.track("train", total=1.0) as bar:
                bar.reach(0.0, note="starting workers")
                while self._goes_on():
                    time.sleep(POLL_S)
                    _show(bar, reader, spec)
        except KeyboardInterrupt:
            if self._driver:
                self.finish("stopped", message="stopped from the keyboard")
            raise
        self._raise_unless_finished()
        return self

    def finish(
        self, status: Status, *, message: str = "", error: RunError | None = None, bigram_loss: float | None = None
    ) -> None:
        """Write down how the run ended and what it took, once: a run that has an end keeps it."""
        end = self._ending(status, message=error.message if error else message, bigram_loss=bigram_loss)
        if error:
            failures = {str(rank): text for rank, text in error.failures.items()}
            end = end.model_copy(update={"hint": error.hint, "failures": failures})
        if self.end is not None:
            return
        assert end.effort is not None
        self._record_usage(end)
        try:
            self.files.store.create(self.files.key("end.json"), end.to_json())
        except ConflictError:
            return
        if status == "finished" and (measurement := taught(self.files.store, self.record, end)):
            keep(self.files.store, measurement)

    def _record_usage(self, end: RunEnd) -> None:
        """Into the ledger goes what was taken since the run began, or since it was resumed."""
        earlier = self.files.earlier_ends()
        name = f"{self.name}-{len(earlier)}" if earlier else self.name
        row = _usage(self.record, end, earlier[-1] if earlier else None, began_at=self._began_at())
        Ledger(self.files.store).record([row], name=name)

    def _began_at(self) -> datetime:
        resumed = self.files.resumed()
        return resumed[-1].created_at if resumed else self.record.created_at

    def _ending(self, status: Status, *, message: str, bigram_loss: float | None) -> RunEnd:
        start, checkpoints, reader = self.record, self.checkpoints, MetricsReader(self.files)
        steps = reader.new()
        last = steps[-1] if steps else None
        best = best_of(checkpoints)
        earlier = self.files.earlier_ends()
        seconds = (now() - self._began_at()).total_seconds()
        seconds += earlier[-1].effort.seconds if earlier and earlier[-1].effort else 0.0
        if is_gone(self.driver):  # nobody knows when; it worked at least as long as its steps say
            seconds = max(last.seconds if last else 0.0, reader.used_s)
        return RunEnd(
            run=self.name,
            status=status,
            message=message,
            steps=last.step if last else 0,
            tokens=last.tokens if last else 0,
            tokens_per_s=last.tokens / last.seconds if last and last.seconds else 0.0,
            heldout_loss=best.heldout_loss if best else None,
            best_step=best.step if best else None,
            bigram_loss=bigram_loss,
            restarts=reader.restarts,
            used_s=reader.used_s,
            productive_s=sum(map(_work_s, steps)),
            effort=effort(
                start.machine, seconds=seconds, cpu_seconds=last.cpu_seconds if last else 0.0, share=start.share
            ),
            parents=(start.id,),
        )

    def restarts(self) -> int:
        """How often its workers were started again."""
        reader = MetricsReader(self.files)
        reader.new()
        return reader.restarts

    def _raise_unless_finished(self) -> None:
        if self._driver and self._driver.error:
            raise self._driver.error
        end, again = self.end, f"go on with it: tw runs resume {self.name}"
        if end is None:
            raise RunError(f"run {self.name} was stopped: the process that drove it is gone", hint=again)
        if end.status == "stopped":
            said = end.message if end.message.startswith("stopped") else f"stopped: {end.message}"
            raise RunError(f"run {self.name} was {said}", hint=again)
        if end.status != "finished":
            failures = {int(rank): text for rank, text in end.failures.items()}
            raise RunError(end.message, hint=end.hint, failures=failures)

    def _goes_on(self) -> bool:
        return self._driver.is_alive() if self._driver else self.status == "running"

    def ending(self) -> RunEnd | None:
        """The end, also of a run whose process went without writing one; None while it runs."""
        if self.end is None and self.status == "stopped":
            self.finish("stopped", message="the process that drove it is gone")
        return self.end

    def summary(self) -> RunSummary:
        start, end = self.record, self.end
        last = None if end else next(reversed(self.metrics()), None)
        return RunSummary(
            run=self.name,
            status=self.status,
            dataset=start.dataset,
            started_at=f"{start.created_at:%Y-%m-%d %H:%M:%S}",
            steps=end.steps if end else (last.step if last else 0),
            tokens=end.tokens if end else (last.tokens if last else 0),
            heldout_loss=end.heldout_loss if end else (last.heldout_loss if last else None),
            message=end.message if end else "",
        )


def best_of(checkpoints: Sequence[CheckpointRecord]) -> CheckpointRecord | None:
    """The one with the lowest held-out loss; the newest where none was evaluated, as those before a preemption."""
    judged = [one for one in checkpoints if one.heldout_loss is not None]
    return min(judged, key=lambda one: one.heldout_loss or 0.0, default=next(reversed(checkpoints), None))


def names(store: Store) -> list[str]:
    """The runs of a workspace, oldest first: a name ends with the date and time of its beginning."""
    keys = (item.key.split("/") for item in store.list(FOLDER) if item.key.endswith("/run.json"))
    return sorted((key[1] for key in keys), key=lambda name: (name.split("-")[-2:], name))


def take_up(run: Run, *, anyway: bool) -> None:
    """Let this process drive a run that has ended, or whose driver has gone. What it had written stays.

    Raises what `check_over` raises, and ConflictError when somebody else was faster.
    """
    check_over(run, anyway=anyway)
    end, files = run.end, run.files
    number = len(files.resumed()) + 1
    record = RunResumed(run=run.name, process=this_process(), parents=(f"run:{run.name}",))
    files.store.create(files.key(f"resumed/{number:04d}.json"), record.to_json())
    if end:
        files.store.put(files.key(f"ends/{number:04d}.json"), end.to_json())
        files.store.delete(files.key("end.json"))
    files.store.delete(files.key(STOP))


def check_over(run: Run, *, anyway: bool) -> None:
    """Raises SpecError for a run that is finished, and for one that still runs as far as is known.

    With `anyway` the latter is believed to be gone.
    """
    status = run.status
    if status == "finished":
        raise SpecError(f"run {run.name} is finished", hint="train a new one, with start_from: one of its models")
    if status == "running" and not anyway:
        where = run.driver.host
        raise SpecError(
            f"run {run.name} runs, driven from {where}",
            hint=f"tw runs stop {run.name}; or --anyway, when {where} is known to be gone",
        )


def find(store: Store, name: str) -> Run:
    """A run by name. Raises NotFoundError with the nearest name."""
    known = names(store)
    if name not in known:
        raise NotFoundError(f"no run named {name!r}{did_you_mean(name, known)}")
    return Run(store, name)


def _usage(start: RunStart, end: RunEnd, before: RunEnd | None, *, began_at: datetime) -> Usage:
    """The row of the ledger for what came after an earlier end. A second of the run is one of each device."""
    before = before or RunEnd(run=end.run, status="stopped")
    taken, known = (one.effort or effort(start.machine, seconds=0.0, cpu_seconds=0.0) for one in (end, before))
    since = effort(
        start.machine,
        seconds=max(0.0, taken.seconds - known.seconds),
        cpu_seconds=max(0.0, taken.cpu_seconds - known.cpu_seconds),
        share=start.share,
    )
    devices = start.machine.devices * start.share
    return usage(
        "training",
        start.id,
        start.machine,
        since,
        tokens_in=max(0, end.tokens - before.tokens),
        team=start.team,
        dataset="+".join(start.datasets or (start.dataset,)),
        share=start.share,
        used_s=(end.used_s - before.used_s) * devices,
        productive_s=max(0.0, end.productive_s - before.productive_s) * devices,
        began_at=began_at,
    )


def _work_s(row: StepMetrics) -> float:
    """Seconds of a step without waiting for data. All steps have the same number of tokens."""
    took_s = row.tokens / row.step / row.tokens_per_s if row.step and row.tokens_per_s else 0.0
    return max(0.0, took_s - row.data_seconds)


def _show(bar: progress.Bar, reader: MetricsReader, spec: TrainSpec) -> None:
    """Bring the bar up to date. A store that does not answer does not end the watching, nor the run."""
    try:
        newest = reader.new()[-1:]
    except StorageError as exc:
        bar.advance(0, note=exc.message)
        return
    for row in newest:
        bar.reach(_share(spec, row), note=_line(row))


def _share(spec: TrainSpec, row: StepMetrics) -> float:
    return max(row.step / spec.max_steps, row.seconds / spec.max_time_s if spec.max_time_s else 0.0)


def _line(row: StepMetrics) -> str:
    """The live line: `step 120  loss 4.213  9.8 k tokens/s`."""
    pace = row.tokens / row.seconds if row.seconds else 0.0
    return f"step {row.step}  loss {row.loss:.3f}  {format_count(pace)} tokens/s"
