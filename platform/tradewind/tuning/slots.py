"""Where trials run: slots that stay for many trials, each with a worker that a nursery has forked.

A slot is a Ray actor, light, so that one that is lost with its machine is soon made anew elsewhere. Its worker is the
process that trains. A worker that vanishes is replaced at once, and what it was doing goes on from its checkpoint.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tradewind.clusters.process import this_process
from tradewind.errors import RunError
from tradewind.records import ProcessName
from tradewind.tuning import nursery
from tradewind.tuning.outcome import Outcome
from tradewind.tuning.work import Work
from tradewind.tuning.worker import Birth

STILLBORN = 5
"""So many slots in a row may be lost before they have come up."""


def folder_of(work: Work, session: str) -> Path:
    """Where the nursery of a machine is, for one kind of work of one Ray session."""
    words = repr((work.modules, session, sys.executable, os.getuid()))
    return Path(tempfile.gettempdir()) / f"tw-nursery-{hashlib.sha256(words.encode()).hexdigest()[:12]}"


class Slot:
    """The actor. One trial at a time; `leave` is heard meanwhile."""

    def __init__(self, work: Work, threads: int, session: str, driver: ProcessName) -> None:
        self._work = work
        self._threads = threads
        self._driver = driver
        self._folder = folder_of(work, session)
        self._worker: Connection | None = None
        self._pid = 0
        self._sending = threading.Lock()

    def ready(self) -> tuple[str, int]:
        """Where it is: the node's id, and the process of its worker."""
        import ray

        self._raise()
        return ray.get_runtime_context().get_node_id(), self._pid

    def run(self, job: bytes) -> Outcome:
        """Have a pickled job trained to its end."""
        began = time.monotonic()
        try:
            if self._worker is None:
                self._raise()
            assert self._worker
            self._send("run", job)
            outcome: Outcome = pickle.loads(self._worker.recv_bytes())  # noqa: S301 - of its own worker
        except (EOFError, OSError):
            self._worker = None
            return Outcome("lost", f"worker {self._pid} vanished", seconds=time.monotonic() - began)
        if outcome.is_stuck:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._worker = None
        return outcome

    def leave(self, reason: str, deadline_unix_s: float | None = None) -> None:
        """Ask the trial at work to leave behind a checkpoint."""
        with contextlib.suppress(EOFError, OSError):
            self._send("leave", reason, deadline_unix_s)

    def _raise(self) -> None:
        """Get a worker from the machine's nursery. Raises RunError, with what the nursery said last."""
        try:
            self._ask()
        except (EOFError, OSError):  # one that is being killed still takes connections
            try:
                self._ask()
            except (EOFError, OSError) as exc:
                raise RunError(f"no worker can be started: {nursery.last_words(self._folder)}") from exc

    def _ask(self) -> None:
        worker = nursery.ask(self._folder, self._work.modules)
        birth = Birth(dict(os.environ), os.getcwd(), self._work, self._threads, self._driver)  # noqa: PTH109
        worker.send_bytes(pickle.dumps(birth))
        self._pid = pickle.loads(worker.recv_bytes())  # noqa: S301
        self._worker = worker

    def _send(self, *words: Any) -> None:
        with self._sending:
            if self._worker:
                self._worker.send_bytes(pickle.dumps(words))


@dataclass
class Place:
    """A slot as the driver knows it."""

    actor: Any
    starting: Any
    """The answer to `ready`, until it is there."""
    node: str = ""
    pid: int = 0
    working: Any = None

    def begin(self, job: Any) -> None:
        self.working = self.actor.run.remote(pickle.dumps(job))

    def outcome(self) -> Outcome | None:
        """What came of the job; None while it is at work."""
        import ray

        if not ray.wait([self.working], timeout=0)[0]:
            return None
        try:
            found: Outcome = ray.get(self.working)
        except ray.exceptions.OutOfMemoryError as exc:
            return Outcome("failed", f"out of memory: {str(exc).splitlines()[0]}", slot_is_gone=True)
        except ray.exceptions.RayError as exc:
            return Outcome("lost", _reason(exc), slot_is_gone=True)
        return found

    def leave(self, reason: str, deadline_unix_s: float | None = None) -> None:
        self.actor.leave.remote(reason, deadline_unix_s)

    def kill(self) -> None:
        import ray

        ray.kill(self.actor)


def _reason(exc: Exception) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return next((line for line in lines if "killed" in line or "died" in line or "node" in line), lines[0])


@dataclass(frozen=True)
class Share:
    """What one slot takes of the cluster."""

    cpus: float
    chips: float


@dataclass
class Slots:
    """As many slots as trials go at once."""

    work: Work
    count: int
    share: Share
    session: str

    def __post_init__(self) -> None:
        self.starting: list[Place] = []
        self.free: list[Place] = []
        self.busy: list[Place] = []
        self._stillborn = 0

    def fill(self) -> None:
        """Start what is missing. Ray puts it where there is room, now or later."""
        for _ in range(self.count - len(self.starting) - len(self.free) - len(self.busy)):
            self.starting.append(self._started())

    def take(self) -> Place | None:
        """A free slot for a trial."""
        if not self.free:
            return None
        place = self.free.pop(0)
        self.busy.append(place)
        return place

    def give_back(self, place: Any) -> None:
        self.busy.remove(place)
        place.working = None
        self.free.append(place)

    def drop(self, place: Any) -> None:
        """Use a slot no more: it is lost, or its machine goes."""
        for places in (self.starting, self.free, self.busy):
            if place in places:
                places.remove(place)
        place.kill()

    def welcome(self) -> None:
        """See which slots have come up, and which were lost before they were of use.

        Raises RunError when none comes up time and again.
        """
        import ray

        refs = {place.starting: place for place in self.starting}
        ready, _ = ray.wait(list(refs), num_returns=len(refs), timeout=0) if refs else ([], [])
        for ref in ready:
            place = refs[ref]
            self.starting.remove(place)
            try:
                place.node, place.pid = ray.get(ref)
            except ray.exceptions.RayError as exc:
                self._stillborn += 1
                if self._stillborn > STILLBORN:
                    raise RunError(f"no slot for trials can start: {str(exc).strip().splitlines()[-1]}") from exc
                continue
            self._stillborn = 0
            self.free.append(place)

    def wait(self, timeout_s: float) -> None:
        """Until something happens, or the time is over."""
        import ray

        refs = [place.starting for place in self.starting] + [place.working for place in self.busy if place.working]
        if refs:
            ray.wait(refs, timeout=timeout_s)
        else:
            time.sleep(timeout_s)

    def close(self) -> None:
        for place in (*self.starting, *self.free, *self.busy):
            place.kill()
        self.starting, self.free, self.busy = [], [], []

    def _started(self) -> Place:
        import ray

        options: dict[str, Any] = {"num_cpus": self.share.cpus, "max_restarts": 0, "max_concurrency": 3}
        if self.share.chips:
            options["num_gpus"] = self.share.chips
        actor_class: Any = ray.remote(Slot)
        threads = max(1, int(self.share.cpus))
        actor = actor_class.options(**options).remote(self.work, threads, self.session, this_process())
        return Place(actor, actor.ready.remote())
