"""A process that has loaded all code, and forks a worker for whoever asks: it works after milliseconds, not seconds.

    python -m tradewind.tuning.nursery FOLDER LOCK MODULE…

Loading torch and what trains takes some seconds of a processor; of several slots on one machine, and of those that
start again after a loss, each would pay it. The nursery has one thread and opens nothing, so that a fork of it is whole
(https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods). It ends when nobody has asked, and
no worker of its has lived, for a while.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

IDLE_S = 20.0
START_S = 120.0
SOCKET, LOCK, OUTPUT, OVER = "nursery.sock", "nursery.lock", "nursery.log", "over"


def raise_workers(folder: Path, lock: int, modules: Sequence[str], serve: Callable[[Connection], None]) -> None:
    """Fork a worker for each connection, which `serve`s it and ends. Returns when idle, in the nursery alone.

    `lock` is the open file whose lock says that the folder has a nursery.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path = folder / SOCKET
    path.unlink(missing_ok=True)
    listener.bind(str(path))
    listener.listen(64)
    for name in modules:
        importlib.import_module(name)
    listener.settimeout(0.2)
    alive: set[int] = set()
    last = time.monotonic()
    while alive or (time.monotonic() - last < IDLE_S and not (folder / OVER).exists()):
        with contextlib.suppress(TimeoutError):
            accepted, _ = listener.accept()
            child = os.fork()
            if child == 0:
                listener.close()
                os.close(lock)
                _work(accepted, serve)
            accepted.close()
            alive.add(child)
        alive -= _ended(alive)
        last = time.monotonic() if alive else last
    path.unlink(missing_ok=True)


def _work(accepted: socket.socket, serve: Callable[[Connection], None]) -> None:
    """The life of a worker; never returns."""
    code = 1
    try:
        accepted.setblocking(True)
        serve(Connection(accepted.detach()))
        code = 0
    except BaseException:  # noqa: BLE001 - the end of the process: the log has it
        traceback.print_exc()
    finally:
        os._exit(code)


def _ended(alive: set[int]) -> set[int]:
    ended = set()
    for child in alive:
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(child, os.WNOHANG)[0] == 0:
                continue
        ended.add(child)
    return ended


def ask(folder: Path, modules: Sequence[str]) -> Connection:
    """A connection to a new worker of the nursery in a folder, which is started where there is none.

    Raises TimeoutError when it does not start.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            return _connected(folder)
        begin(folder, modules)
        time.sleep(0.05)
    raise TimeoutError(f"no nursery answers in {folder}")


def begin(folder: Path, modules: Sequence[str]) -> None:
    """Start the nursery of a folder unless it is there, and do not wait for it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as lock, (folder / OUTPUT).open("ab") as output:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        command = [sys.executable, "-m", "tradewind.tuning.nursery", str(folder), str(lock.fileno()), *modules]
        process = subprocess.Popen(  # noqa: S603 - the lock goes with it, for as long as it lives
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=(lock.fileno(),),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
    threading.Thread(target=process.wait, name="tradewind-nursery", daemon=True).start()  # so that it leaves no zombie


def end(folder: Path) -> None:
    """Let the nursery of a folder end with its last worker, and not wait for others."""
    if folder.is_dir():
        (folder / OVER).touch()


def _connected(folder: Path) -> Connection:
    joined = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        joined.connect(str(folder / SOCKET))
    except OSError:
        joined.close()
        raise
    return Connection(joined.detach())


def last_words(folder: Path) -> str:
    """The last line that a nursery wrote."""
    path = folder / OUTPUT
    lines = path.read_text(errors="replace").split("\n") if path.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it says nothing")


def main() -> None:
    from tradewind.tuning.worker import serve

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    folder = Path(sys.argv[1])
    raise_workers(folder, int(sys.argv[2]), sys.argv[3:], serve)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
