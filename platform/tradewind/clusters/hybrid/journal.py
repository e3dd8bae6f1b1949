"""Everything that a cluster launches and decides, as records that are only ever added.

Writing never delays a launch: a thread of its own does it, in order, and tries again while the store does not answer.
Without a workspace the records are in a folder of the machine that decides.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from tradewind.errors import TradewindError
from tradewind.ledger import Ledger
from tradewind.records import Action, Attempt, Decision, Launch, Usage
from tradewind.storage import RecordLog, open_store

FOLDER = Path("~/.tradewind-cluster")
MOST_WAITING = 10_000
LONGEST_PAUSE_S = 30.0

LEVELS: Mapping[Action, int] = {"end": logging.INFO}
log = logging.getLogger(__name__)

Write = Callable[[], object]
R = TypeVar("R", Launch, Decision)


class Journal:
    """The records of one cluster at one place."""

    def __init__(self, cluster: str, workspace: str = "") -> None:
        self.cluster = cluster
        self._has_workspace = bool(workspace)
        self.place = workspace or str(FOLDER.expanduser())
        store = open_store(self.place)
        self.launches = RecordLog(store, f"clusters/{cluster}/launches", Launch)
        self.decisions = RecordLog(store, f"clusters/{cluster}/decisions", Decision)
        self.losses = RecordLog(store, f"clusters/{cluster}/losses", Decision)
        self._last = {"launches": 0, "decisions": 0, "losses": 0}
        self._read, self._lost = 0, set[str]()
        self._waiting: queue.Queue[Write] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def launch(
        self,
        node_type: str,
        request: str,
        *,
        wanted: int,
        attempts: tuple[Attempt, ...],
        passed_over: tuple[str, ...],
        reason: str,
        seconds: float,
    ) -> None:
        def make(number: int, writer: str) -> Launch:
            return Launch(
                cluster=self.cluster, number=number, writer=writer, node_type=node_type, request=request, wanted=wanted,
                attempts=attempts, passed_over=passed_over, reason=reason, seconds=seconds,
            )  # fmt: skip

        self._later(lambda: self._append("launches", self.launches, make))

    def decide(self, action: Action, subject: str, reason: str) -> None:
        """Write down a decision, and say it in the log of the process."""
        log.log(LEVELS.get(action, logging.WARNING), "%s: %s %s: %s", self.cluster, action, subject, reason)

        self._later(lambda: self._append("decisions", self.decisions, self._decision(action, subject, reason)))

    def lose(self, token: str, reason: str) -> None:
        """A launch was given up without an answer. In a log of its own, which is short and read by each sweep."""
        self._later(lambda: self._append("losses", self.losses, self._decision("lost", token, reason)))

    def usage(self, rows: list[Usage]) -> None:
        """Write rows into the ledger of the workspace, each once; without a workspace there is none."""
        name = f"nodes-{uuid.uuid4().hex}"
        if self._has_workspace:
            self._later(lambda: Ledger(self.launches.store).record(rows, name=name))

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is written. False when it is not in time."""
        end = time.monotonic() + timeout_s
        with self._waiting.all_tasks_done:
            while self._waiting.unfinished_tasks:
                if not self._waiting.all_tasks_done.wait(max(0.0, end - time.monotonic())) and time.monotonic() >= end:
                    return False
        return True

    def lost_tokens(self) -> frozenset[str]:
        """Launches that were given up without an answer: what appears under these tokens is a leak."""
        for number in self.losses.numbers(after=self._read):
            self._lost.add(self.losses.read(number).subject)
            self._read = number
        return frozenset(self._lost)

    def _decision(self, action: Action, subject: str, reason: str) -> Callable[[int, str], Decision]:
        return lambda number, writer: Decision(
            cluster=self.cluster, number=number, writer=writer, action=action, subject=subject, reason=reason
        )

    def _append(self, name: str, records: RecordLog[R], make: Callable[[int, str], R]) -> R:
        record = records.append(make, after=self._last[name])
        self._last[name] = record.number
        return record

    def _later(self, write: Write) -> None:
        try:
            self._waiting.put_nowait(write)
        except queue.Full:
            log.error("%s: %s records wait for %s; one is dropped", self.cluster, MOST_WAITING, self.place)
            return
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="tradewind-journal", daemon=True)
                self._thread.start()

    def _write(self) -> None:
        while True:
            write, pause_s = self._waiting.get(), 0.5
            while not self._written(write):
                time.sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
            self._waiting.task_done()

    def _written(self, write: Write) -> bool:
        """False when it must be tried again: also after what a person has to mend, like credentials that ran out."""
        try:
            write()
        except TradewindError as exc:
            log.warning("%s: a record cannot be written to %s: %s", self.cluster, self.place, exc)
            return False
        return True
