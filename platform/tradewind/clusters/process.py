"""Processes of this machine that hold something: are they still there, and ending them."""

from __future__ import annotations

import os
import signal
import socket

import psutil

from tradewind.errors import AuthError
from tradewind.records import ProcessName

CLOCK_STEP_S = 30.0
"""A process's start is computed from the machine's, so it moves when the clock is set."""


def this_process() -> ProcessName:
    return ProcessName(host=socket.gethostname(), pid=os.getpid(), started=psutil.Process().create_time())


def is_here(name: ProcessName) -> bool:
    return name.host == socket.gethostname()


def is_gone(name: ProcessName) -> bool:
    """True when it ran on this machine and runs no more. A process of another machine is never known to be gone."""
    return is_here(name) and not _runs(name)


def stop(name: ProcessName, *, timeout_s: float) -> bool:
    """Ask a process of this machine to end, and kill it when it has not in time. Returns whether it was still there."""
    if not is_here(name) or not _runs(name):
        return False
    process = psutil.Process(name.pid)
    try:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout_s)
    except psutil.AccessDenied as exc:
        raise AuthError(f"process {name.pid} belongs to {process.username()}", hint="stop it as that user") from exc
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(timeout_s)
    return True


def _runs(name: ProcessName) -> bool:
    try:
        process = psutil.Process(name.pid)
        same = abs(process.create_time() - name.started) < CLOCK_STEP_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
