"""Keeps Ray's head running: a process of it that dies is started again, and the rest only where it must be.

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
GRACE_S = 5.0
"""Until what was asked to end is killed; `ray stop` gives each third of the processes as long."""
FIRST_PAUSE_S, LONGEST_PAUSE_S, SETTLED_S = 0.5, 30.0, 60.0
log = logging.getLogger(__name__)


def supervise(command: Sequence[str], *, started: Callable[[Head], None]) -> None:
    """Start a head and keep it running until `ray stop`, or a SIGTERM to this process, ends it.

    Calls `started` whenever all of the head is new. Raises CloudError when the first start does not work.
    """
    adopt_orphans()
    signal.signal(signal.SIGTERM, _leave)
    try:
        head = Head.start(command)
        started(head)
        pause = Pause()
        while ended := head.ended(pause):
            if any(one.stopped for one in ended):
                return
            if not _mended(head, ended):
                head = _new(command)
                started(head)
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

    def ended(self, pause: Pause) -> list[Ended]:
        """What has ended next: mostly one process, or all. Orphans of jobs are buried in passing."""
        while not (first := self._ended(*os.wait())):
            pass
        found = [first]
        if not first.stopped:
            pause.wait()
        while self.processes and (said := os.waitpid(-1, os.WNOHANG))[0]:
            found += filter(None, [self._ended(*said)])
        return found

    @property
    def address(self) -> str:
        """Of its GCS, as Ray writes it on the raylet's command line. Empty when it does not."""
        words = next((one.argv for one in self.processes.values() if one.name == RAYLET), ())
        return next((word.partition("=")[2] for word in words if word.startswith("--gcs-address=")), "")

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


def _mended(head: Head, ended: Sequence[Ended]) -> bool:
    """Whether those processes run again, beside all the others."""
    if RAYLET in (one.name for one in ended):
        return False
    try:
        for one in ended:
            head.replace(one.process)
    except OSError as exc:
        log.error("cannot be started again: %s", exc)
        return False
    return True


def _new(command: Sequence[str]) -> Head:
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
