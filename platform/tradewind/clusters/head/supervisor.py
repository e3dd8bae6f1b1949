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
from collections import defaultdict
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
    ends, pause = Ends(), Pause()
    try:
        head = Head.start(command)
        started(head)
        while head.watch(ends) not in STOPPED:
            head = _new(command, pause)
            started(head)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        kill_all()


@dataclass
class Head:
    """The processes that `ray start` has left, by process id."""

    processes: dict[int, Started]

    @classmethod
    def start(cls, command: Sequence[str]) -> Head:
        """Raises CloudError when no head comes up. What it has left is not killed then."""
        start, scaling = _without_scaling(command)
        code = _run(start)
        head = cls(children())
        if code or RAYLET not in (one.name for one in head.processes.values()):
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
        waiting = Waiting()
        while True:
            for process, code in self._ended():
                log.warning("%s ended with %d", process.name, code)
                if process.name == RAYLET:
                    kill_all()
                    return code
                waiting.add(process)
            for process in waiting.due():
                try:
                    self.processes[process.again()] = process
                except OSError as exc:
                    log.error("%s cannot be started again: %s", process.name, exc)
                    waiting.add(process)
            ends.wait(waiting.until)

    def _ended(self) -> Iterator[tuple[Started, int]]:
        """Orphans of jobs are buried in passing."""
        while self.processes and (said := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = said
            if process := self.processes.pop(pid, None):
                yield process, os.waitstatus_to_exitcode(status)

    def _scale(self, scaling: Sequence[str]) -> None:
        """Put the autoscaler in the place of the one without a provider, which a start without its settings leaves."""
        found = (pid for pid, one in self.processes.items() if any(word.endswith(MONITOR) for word in one.argv))
        if (pid := next(found, None)) is None:
            raise CloudError("the head came up without a monitor, so nothing would scale it", hint="its log says why")
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        monitor = self.processes.pop(pid)
        scaled = replace(monitor, argv=(*monitor.argv, *scaling))
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


class Waiting:
    """Processes to be started again, each after a pause of its own."""

    def __init__(self) -> None:
        self._pauses: defaultdict[tuple[str, ...], Pause] = defaultdict(Pause)
        self._waiting: list[tuple[float, Started]] = []

    @property
    def until(self) -> float | None:
        """When the first one is due, as `time.monotonic` says it."""
        return min((when for when, _ in self._waiting), default=None)

    def add(self, process: Started) -> None:
        self._waiting.append((time.monotonic() + self._pauses[process.argv].next_s(), process))

    def due(self) -> list[Started]:
        """Those whose time has come. They wait no longer."""
        now = time.monotonic()
        due = [process for when, process in self._waiting if when <= now]
        self._waiting = [(when, process) for when, process in self._waiting if when > now]
        return due


def _run(start: Sequence[str]) -> int:
    try:
        return subprocess.run(start, stdin=subprocess.DEVNULL, check=False).returncode  # noqa: S603 - the user's own
    except OSError as exc:
        raise CloudError(f"{start[0]!r} cannot be run: {exc}", hint="give the command that starts a head") from exc


def _new(command: Sequence[str], pause: Pause) -> Head:
    """Tries until a head comes up; the pauses grow, too, when heads come up and die soon."""
    while True:
        time.sleep(pause.next_s())
        try:
            return Head.start(command)
        except (CloudError, OSError) as exc:
            log.error("%s", exc)
            kill_all()


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
