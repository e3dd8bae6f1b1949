"""Trials of several workers: each is driven by Ray Train like any run, which starts lost workers again by itself."""

from __future__ import annotations

import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tradewind.clusters import RaySession
from tradewind.records import StopRequest
from tradewind.tuning.outcome import Outcome

if TYPE_CHECKING:
    from tradewind.training.job import Job


@dataclass
class Group:
    """One trial's workers, as the driver knows them."""

    session: RaySession
    node: str = ""
    _job: Job | None = None
    _outcome: list[Outcome] = field(default_factory=list)

    def begin(self, job: Job) -> None:
        self._job, self._outcome = job, []
        threading.Thread(target=self._drive, args=(job,), name=job.run, daemon=True).start()

    def outcome(self) -> Outcome | None:
        return self._outcome[0] if self._outcome else None

    def leave(self, reason: str, deadline_unix_s: float | None = None) -> None:  # noqa: ARG002 - as a slot does
        """Ask the workers to stop behind a checkpoint."""
        from tradewind.training.run import STOP, RunFiles

        assert self._job
        files = RunFiles(self._job.store, self._job.run)
        files.store.put(files.key(STOP), StopRequest(run=self._job.run, host=reason).to_json())

    def kill(self) -> None:
        """Nothing is to be done: workers end with their group."""

    def _drive(self, job: Job) -> None:
        from tradewind.training.driving.failure import run_error
        from tradewind.training.driving.fit import fit

        began = time.monotonic()
        try:
            fit(job, self.session)
        except Exception as exc:  # noqa: BLE001 - the end of the thread: the driver judges it
            lines = tuple("".join(traceback.format_exception(exc)).rstrip().splitlines()[-12:])
            self._outcome.append(
                Outcome("failed", run_error(job.run, exc).message, lines, seconds=time.monotonic() - began)
            )
        else:
            self._outcome.append(Outcome("done", seconds=time.monotonic() - began))


@dataclass
class Groups:
    """Room for `count` groups at once."""

    session: RaySession
    count: int
    busy: list[Any] = field(default_factory=list)

    def fill(self) -> None:
        """Ray Train starts workers when they are needed."""

    def welcome(self) -> None:
        """See `fill`."""

    def take(self) -> Group | None:
        if len(self.busy) >= self.count:
            return None
        self.busy.append(Group(self.session))
        return self.busy[-1]  # type: ignore[no-any-return]

    def give_back(self, place: Any) -> None:
        self.busy.remove(place)

    def drop(self, place: Any) -> None:
        self.busy.remove(place)

    def wait(self, timeout_s: float) -> None:
        time.sleep(timeout_s)

    def close(self) -> None:
        self.busy = []
