"""Keeps Ray's head running: a process of it that dies is started again, and the rest only where it must be.

Ray's raylet, its dashboard, and drivers on the head outlive the GCS, and find it again (measured with Ray 2.60). With
the raylet dies what runs on this machine, so the whole head is started anew then, from what the GCS left on disk.

The autoscaler must never look while the GCS knows only dead heads: it takes this machine for one without Ray, and ends
it (measured with Ray 2.60 on 2026-11-26: once in each of four slow starts). So it is the last to start, and it is
killed as soon as the raylet has ended.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from tradewind.clusters.head.process import STOPPED, Started, adopt_orphans, children, kill_all
from tradewind.errors import CloudError

RAYLET, MONITOR = "raylet", "/monitor.py"
SCALING = "--autoscaling-config"
FIRST_PAUSE_S, LONGEST_PAUSE_S, SETTLED_S = 0.5, 30.0, 60.0
log = logging.getLogger(__name__)


def supervise(command: Sequence[str], *, started: Callable[[Head], None]) -> None:
    """Start a head and keep it running until `ray stop`, or a SIGTERM to this process, ends it.

    Calls `started` whenever all of the head is new. Raises CloudError when the first start does not work.
    """
    adopt_orphans()
    signal.signal(signal.SIGTERM, _leave)
    ends = Ends()
    try:
        head = Head.start(command)
        started(head)
        while head.watch(ends) not in STOPPED:
            head = _new(command)
            started(head)
    finally:
        kill_all()


@dataclass
class Head:
    """The processes that `ray start` has left, by process id."""

    processes: dict[int, Started]

    @classmethod
    def start(cls, command: Sequence[str]) -> Head:
        """Raises CloudError with nothing left running when no head comes up."""
        start, scaling = _without_scaling(command)
        code = subprocess.run(start, stdin=subprocess.DEVNULL, check=False).returncode  # noqa: S603 - the user's own
        head = cls(children())
        if code or RAYLET not in (one.name for one in head.processes.values()):
            kill_all()
            raise CloudError(f"{command[0]!r} started no head: exit code {code}", hint="its output says why")
        if scaling:
            head._scale(scaling)
        return head

    @property
    def address(self) -> str:
        """Of its GCS, as Ray writes it on the raylet's command line. Empty when it does not."""
        words = next((one.argv for one in self.processes.values() if one.name == RAYLET), ())
        return next((word.partition("=")[2] for word in words if word.startswith("--gcs-address=")), "")

    def watch(self, ends: Ends) -> int:
        """Start again what ends, and give the raylet's exit code when it does. All others are killed then."""
        pause = Pause()
        waiting: list[tuple[float, Started]] = []
        while True:
            for process, code in self._ended():
                log.warning("%s ended with %d", process.name, code)
                if process.name == RAYLET:
                    kill_all()
                    return code
                waiting.append((time.monotonic() + pause.next_s(), process))
            for due in [one for one in waiting if one[0] <= time.monotonic()]:
                waiting.remove(due)
                self.processes[due[1].again()] = due[1]
            ends.wait(min((due for due, _ in waiting), default=None))

    def _ended(self) -> Iterator[tuple[Started, int]]:
        """Orphans of jobs are buried in passing."""
        while self.processes and (said := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = said
            if process := self.processes.pop(pid, None):
                yield process, os.waitstatus_to_exitcode(status)

    def _scale(self, scaling: Sequence[str]) -> None:
        """Put the autoscaler in the place of the one without a provider, which a start without its settings leaves."""
        for pid, process in list(self.processes.items()):
            if any(word.endswith(MONITOR) for word in process.argv):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                del self.processes[pid]
                scaled = replace(process, argv=(*process.argv, *scaling))
                self.processes[scaled.again()] = scaled


class Ends:
    """Wakes up when a process has ended."""

    def __init__(self) -> None:
        self._heard, said = os.pipe()
        os.set_blocking(said, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(said, warn_on_full_buffer=False)

    def wait(self, until: float | None) -> None:
        """At most until a time of `time.monotonic`."""
        timeout_s = None if until is None else max(0.0, until - time.monotonic())
        if select.select([self._heard], [], [], timeout_s)[0]:
            os.read(self._heard, 4096)


@dataclass
class Pause:
    """Short before the first restart, and longer when one follows the other."""

    length_s: float = LONGEST_PAUSE_S
    last: float = field(default=float("-inf"))

    def next_s(self) -> float:
        settled = time.monotonic() - self.last > SETTLED_S
        self.length_s = FIRST_PAUSE_S if settled else min(self.length_s * 2, LONGEST_PAUSE_S)
        self.last = time.monotonic()
        return self.length_s


def _new(command: Sequence[str]) -> Head:
    pause = Pause()
    while True:
        time.sleep(pause.next_s())
        try:
            return Head.start(command)
        except CloudError as exc:
            log.error("%s", exc)


def _without_scaling(command: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words of a command without the autoscaler's settings, and those for Ray's monitor."""
    rest: list[str] = []
    scaling: list[str] = []
    words = iter(command)
    for word in words:
        name, equals, value = word.partition("=")
        if name == SCALING:
            scaling = [f"{SCALING}={Path(value if equals else next(words, '')).expanduser()}"]
        else:
            rest.append(word)
    return rest, scaling


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise SystemExit(0)
