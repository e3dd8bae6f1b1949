"""What takes workers away from a run, told to the loop in time, so that it goes on elsewhere without losing a step.

Two kinds of warning reach a worker. The sentinel of its machine writes a notice that every process there can read
(`tradewind.clusters.notices`); whoever drives the run, and sees the whole cluster, calls `interrupt` in each worker: a
node is drained, or there is room for more workers. The loop agrees on either once a step, writes a checkpoint at once
and raises `Preempted`, upon which the workers start again on the nodes that stay.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import ClassVar

from tradewind.clusters.notices import Notice
from tradewind.errors import Remedy, RunError


class Preempted(RunError):  # noqa: N818 - it is none
    """Workers have stopped on purpose, right behind a checkpoint. It is no failure, and counts as none."""

    remedy: ClassVar[Remedy] = "retry"


class HangError(RunError):
    """A step has not ended for so long that it never will."""

    remedy: ClassVar[Remedy] = "retry"


@dataclass(frozen=True)
class Interruption:
    """Why workers shall stop behind a checkpoint, and by when, in unix seconds; None where it may take its time."""

    reason: str
    deadline_unix_s: float | None = None

    def remaining_s(self) -> float | None:
        """Seconds until the deadline, never below 0; None without one."""
        return None if self.deadline_unix_s is None else max(0.0, self.deadline_unix_s - time.time())


LAST_CHANCE_S = 15.0
_lock = threading.Lock()
_began_unix_s = time.time()
_told: Interruption | None = None


def interrupt(reason: str, deadline_unix_s: float | None = None) -> None:
    """Ask the training in this process to stop behind a checkpoint. Of several requests the most urgent one holds."""
    global _told
    new = Interruption(reason, deadline_unix_s)
    with _lock:
        if _told is None or _urgency(new) < _urgency(_told):
            _told = new


def interruption() -> Interruption | None:
    """What this process was asked to stop for; None while it may go on."""
    return _told


def heed(notice: Notice) -> None:
    """Stop for a notice of this machine, at once if it came while training.

    One from before has nowhere to send the workers: they were put here although it held. So they use the time, and stop
    `LAST_CHANCE_S` before the deadline, or half-way to it.
    """
    remaining_s = notice.remaining_s()
    if remaining_s is None:
        return
    reason = f"{notice.kind}: {notice.reason}"
    delay_s = max(remaining_s - LAST_CHANCE_S, remaining_s / 2) if notice.noticed_unix_s < _began_unix_s else 0.0
    timer = threading.Timer(delay_s, interrupt, (reason, notice.deadline_unix_s))
    timer.daemon = True
    timer.start()


def begin() -> None:
    """Training begins, perhaps anew, in this process: no request holds."""
    global _told, _began_unix_s
    with _lock:
        _told, _began_unix_s = None, time.time()


def _urgency(one: Interruption) -> float:
    return float("inf") if one.deadline_unix_s is None else one.deadline_unix_s
