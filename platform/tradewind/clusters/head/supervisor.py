"""Keeps Ray's head running: a process of it that dies is started again, without the rest where that can be.

Ray's raylet, its dashboard, and drivers on the head outlive the GCS, and find it again (measured with Ray 2.60). With
the raylet dies what runs on this machine, so the whole head is started anew then, from what the GCS left on disk.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType

from tradewind.clusters.head.process import STOPPED, Started, adopt_orphans, children, end_all
from tradewind.errors import CloudError

RAYLET = "raylet"
GRACE_S = 10.0
"""Until what was asked to end is killed; `ray stop` gives each third of the processes as long."""
FIRST_PAUSE_S, LONGEST_PAUSE_S, SETTLED_S = 0.5, 30.0, 60.0
log = logging.getLogger(__name__)


def supervise(command: Sequence[str], *, started: Callable[[], None] = lambda: None) -> None:
    """Start a head and keep it running until `ray stop`, or a SIGTERM to this process, ends it.

    Calls `started` when the first start has worked, and raises CloudError when it has not.
    """
    adopt_orphans()
    signal.signal(signal.SIGTERM, _leave)
    try:
        head = Head.start(command)
        started()
        pause = Pause()
        while not (ended := head.wait()).stopped:
            pause.wait()
            head = _again(head, [ended, *head.also_ended()], command)
    finally:
        end_all(grace_s=GRACE_S)


@dataclass(frozen=True)
class Ended:
    process: Started
    code: int

    @property
    def name(self) -> str:
        return self.process.name

    @property
    def stopped(self) -> bool:
        """`ray stop` ends the raylet first, and nothing else makes it end with such a code."""
        return self.name == RAYLET and self.code in STOPPED


@dataclass
class Head:
    processes: dict[int, Started]

    @classmethod
    def start(cls, command: Sequence[str]) -> Head:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode  # noqa: S603 - the user's own
        head = cls(children())
        if code or RAYLET not in (one.name for one in head.processes.values()):
            raise CloudError(f"{command[0]!r} started no head: exit code {code}", hint="its output says why")
        return head

    def wait(self) -> Ended:
        """The next process of the head that ends. Others, such as orphans of jobs, are buried in passing."""
        while True:
            if ended := self._ended(*os.wait()):
                return ended

    def also_ended(self) -> list[Ended]:
        """What has ended in the meantime: mostly nothing, or all."""
        found = []
        while (said := os.waitpid(-1, os.WNOHANG))[0]:
            found += filter(None, [self._ended(*said)])
        return found

    def replace(self, process: Started) -> None:
        self.processes[process.again()] = process

    def _ended(self, pid: int, status: int) -> Ended | None:
        process = self.processes.pop(pid, None)
        if process is None:
            return None
        ended = Ended(process, os.waitstatus_to_exitcode(status))
        log.warning("%s ended with %d", ended.name, ended.code)
        return ended


@dataclass
class Pause:
    """Short before the first restart, and longer when one follows the other."""

    length_s: float = FIRST_PAUSE_S
    last: float = field(default_factory=time.monotonic)

    def wait(self) -> None:
        settled = time.monotonic() - self.last > SETTLED_S
        self.length_s = FIRST_PAUSE_S if settled else min(self.length_s * 2, LONGEST_PAUSE_S)
        time.sleep(self.length_s)
        self.last = time.monotonic()


def _again(head: Head, ended: Sequence[Ended], command: Sequence[str]) -> Head:
    """The head with those processes back in it, or one that is new but for what is on disk."""
    if RAYLET in (one.name for one in ended):
        return _anew(command)
    try:
        for one in ended:
            head.replace(one.process)
    except OSError as exc:
        log.error("cannot be started again: %s", exc)
        return _anew(command)
    return head


def _anew(command: Sequence[str]) -> Head:
    pause = Pause()
    while True:
        end_all(grace_s=GRACE_S)
        try:
            return Head.start(command)
        except CloudError as exc:
            log.error("%s", exc)
            pause.wait()


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise SystemExit(0)
