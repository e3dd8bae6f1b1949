"""Ends a worker of a run as a lost machine would, to see that the run goes on."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import psutil

from tradewind.clusters import notices
from tradewind.clusters.notices import Notice
from tradewind.errors import NotFoundError
from tradewind.records import RunWorker
from tradewind.training.run import Run

TITLE = "RayTrainWorker"
"""What Ray calls the process of a worker."""


def choose(run: Run, rank: int | None = None) -> RunWorker:
    """The worker of a rank, or any one. Raises NotFoundError when the run has none, or not so many."""
    group = run.files.workers()
    if run.status != "running" or group is None:
        raise NotFoundError(f"run {run.name} has no workers: it is {run.status}", hint="start one, or resume it")
    if rank is None:
        return random.choice(group.workers)
    found = next((worker for worker in group.workers if worker.rank == rank), None)
    if found is None:
        raise NotFoundError(f"run {run.name} has no rank {rank}", hint=f"it has {len(group.workers)} workers, from 0")
    return found


def kill(worker: RunWorker) -> bool:
    """End a worker with SIGKILL, on this machine or through Ray on its own. Returns whether it was still there."""
    return bool(_on_machine_of(worker, kill_here, worker.pid))


def announce(worker: RunWorker, *, notice_s: float) -> None:
    """Let a worker's machine say, as its cloud would, that it goes in so many seconds."""
    _on_machine_of(worker, announce_here, notice_s)


def withdraw(worker: RunWorker) -> None:
    """Take the announcement back."""
    _on_machine_of(worker, notices.withdraw)


def kill_here(pid: int) -> bool:
    try:
        if TITLE not in " ".join(psutil.Process(pid).cmdline()):
            return False  # the number belongs to somebody else by now
        os.kill(pid, signal.SIGKILL)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
    return True


def announce_here(notice_s: float) -> None:
    deadline = time.time() + notice_s
    notices.announce(Notice(reason="a drill", deadline_unix_s=deadline, kind="preemption", source="drill"))


def _on_machine_of(worker: RunWorker, work: Callable[..., Any], *arguments: Any) -> Any:
    if worker.host == socket.gethostname():
        return work(*arguments)
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from tradewind.clusters import connect

    session = connect()
    try:
        there = NodeAffinitySchedulingStrategy(worker.node, soft=False)
        task: Any = ray.remote(num_cpus=0, max_retries=0)(work)
        return ray.get(task.options(scheduling_strategy=there).remote(*arguments))
    finally:
        session.close()
