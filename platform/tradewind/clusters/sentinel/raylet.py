"""The Ray node on this machine, found by its process: which node it is, where its head is, and ending it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import psutil

GRACE_S = 2.0
"""For a raylet to say goodbye to the head and to end its workers."""


@dataclass(frozen=True)
class Raylet:
    process: psutil.Process
    node_id: str
    gcs_address: str
    is_head: bool


def find_raylets(*, address: str | None = None, pid: int | None = None) -> list[Raylet]:
    """Raylets that this user may end: all, those of one cluster (`host:port` of its head) or of one process alone."""
    found = [raylet for raylet in _raylets() if address in (None, raylet.gcs_address)]
    return [raylet for raylet in found if pid in (None, raylet.process.pid)]


def end(raylet: Raylet) -> None:
    """End a node's processes: the raylet asked first, so that the head hears of it, then whatever stays, killed."""
    with suppress(psutil.NoSuchProcess):
        processes = [raylet.process, *raylet.process.children(recursive=True)]
        raylet.process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(processes, timeout=GRACE_S)
        _kill(alive)


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _raylets() -> Iterator[Raylet]:
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            if process.name() == "raylet" and os.geteuid() in (0, process.uids().effective):
                yield _raylet(process)


def _raylet(process: psutil.Process) -> Raylet:
    """What Ray's `services.py` has put on the command line: `--node_id=…`, `--gcs-address=…`, and `--head`."""
    words = process.cmdline()
    flags = dict(word.split("=", 1) for word in words if word.startswith("--") and "=" in word)
    if not {"--node_id", "--gcs-address"} <= flags.keys():
        raise psutil.ZombieProcess(process.pid)  # it ends, or is about to become a raylet
    return Raylet(process, flags["--node_id"], flags["--gcs-address"], "--head" in words)
