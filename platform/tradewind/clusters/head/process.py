"""Processes below this one: started, adopted when their parents end, and ended."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import psutil

PR_SET_CHILD_SUBREAPER = 36
"""prctl(2): the orphans among our descendants become our children, so that we hear of their ends."""

STOPPED = frozenset({0, -signal.SIGTERM, 128 + signal.SIGTERM})
"""What processes of Ray exit with after `ray stop`; `ray start --block` reads them in the same way (Ray 2.60)."""
KILLED_S = 5.0
"""Until it is looked again for what a killed process has left."""


@dataclass(frozen=True)
class Started:
    """A process of which we know how it was started, so that it can be started again."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]

    @classmethod
    def of(cls, process: psutil.Process) -> Self:
        return cls(process.name(), tuple(process.cmdline()), process.environ())

    def again(self) -> int:
        """Start it as it was started, and give the process id."""
        return os.posix_spawnp(self.argv[0], self.argv, self.environment)


def adopt_orphans() -> None:
    """Become the parent of every daemon that is started below this process. Raises OSError where Linux is too old."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def children() -> dict[int, Started]:
    """What runs directly below this process, by process id."""
    found: dict[int, Started] = {}
    for process in psutil.Process().children():
        with _while_it_lives():
            found[process.pid] = Started.of(process)
    return found


def kill_all() -> None:
    """Kill everything below this process at once, until nothing is left. The state on disk is made for that."""
    me = psutil.Process()
    while left := me.children(recursive=True):
        for process in left:
            with _while_it_lives():
                process.kill()
        psutil.wait_procs(left, timeout=KILLED_S)


@contextmanager
def _while_it_lives() -> Iterator[None]:
    try:
        yield
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return
