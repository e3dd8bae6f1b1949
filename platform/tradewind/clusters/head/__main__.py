"""`python -m tradewind.clusters.head ray start --head …`: starts a head, returns when it is up, and keeps it running.

The exit code is that of the start: not 0 where no head came up, and then nothing is left running.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tradewind.clusters.head.state import environment, make_folder
from tradewind.clusters.head.supervisor import Head, supervise
from tradewind.errors import ConflictError, TradewindError

TAKE_S = 20.0
"""How long a supervisor of before may take to kill what it watched."""
FORMAT = "%(asctime)s %(levelname)s %(message)s"


def main(command: Sequence[str]) -> int:
    """Leave a supervisor behind in a session of its own, and give what its start came to."""
    folder = make_folder()
    os.environ.update(environment(folder))
    heard, said = os.pipe()
    if os.fork():
        os.close(said)
        return 0 if os.read(heard, 1) else 1
    os.close(heard)
    os.setsid()
    _supervisor(command, folder, said)
    return 0


def _supervisor(command: Sequence[str], folder: Path, said: int) -> None:
    logging.basicConfig(format=FORMAT, level=logging.INFO)
    asking = [said]

    def started(head: Head) -> None:
        _write_to(folder / "log")
        while asking:
            os.write(asking[0], b"1")
            os.close(asking.pop())
        _recover_jobs(head)

    try:
        _take(folder / "lock")
        supervise(command, started=started)
    except TradewindError as exc:
        logging.error("%s; %s", exc.message, exc.hint)
        raise SystemExit(1) from exc


def _recover_jobs(head: Head) -> None:
    """In a process of its own, since it imports Ray; what it says is in the log."""
    if head.address:
        program = [sys.executable, "-m", "tradewind.clusters.head.jobs", head.address]
        os.posix_spawn(sys.executable, program, os.environ)


def _take(path: Path) -> None:
    """One supervisor for a user, its process id in the file. That of before may still be ending what it watched."""
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    end = time.monotonic() + TAKE_S
    while time.monotonic() < end:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)
        else:
            os.ftruncate(lock, 0)
            os.write(lock, f"{os.getpid()}\n".encode())
            return
    other = os.read(lock, 20).decode().strip()
    raise ConflictError("a head of this user is running already", hint=f"`ray stop` ends it, or `kill {other}`")


def _write_to(path: Path) -> None:
    """The start is shown to whoever asked for it; what comes later goes into a file."""
    log = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in ((0, nothing), (1, log), (2, log)):
        os.dup2(file, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
