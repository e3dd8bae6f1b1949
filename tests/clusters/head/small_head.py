"""A head without Ray: processes that do nothing, of the names of Ray's, left behind by a script as Ray does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

NAMES = ("gcs_server", "monitor.py", "log_monitor.py", "raylet")
START = """
echo start "$@" >> {folder}/starts
[ -e {folder}/broken ] && exit 3
for name in gcs_server monitor.py log_monitor.py raylet; do
  [ -e {folder}/no-$name ] && continue
  {folder}/$name -f /dev/null -- &
  until grep -q /dev/null /proc/$!/cmdline; do :; done  # until then it is not the program that it becomes
done
"""


@dataclass(frozen=True)
class SmallHead:
    """Started by `python -m tradewind.clusters.head`, whose supervisor's process id is in its lock."""

    folder: Path

    @property
    def supervisor(self) -> psutil.Process:
        return psutil.Process(int((self.state / "lock").read_text()))

    @property
    def state(self) -> Path:
        return self.folder / ".tradewind-cluster" / "head"

    @property
    def starts(self) -> int:
        return len((self.folder / "starts").read_text().splitlines())

    def start(self, *words: str) -> int:
        """The exit code of the command."""
        command = [sys.executable, "-m", "tradewind.clusters.head", "bash", str(self.folder / "start"), *words]
        return subprocess.run(command, env=os.environ | {"HOME": str(self.folder)}, timeout=60).returncode

    def find(self, name: str) -> psutil.Process | None:
        """That process of it which runs now."""
        path = str(self.folder / name)
        return next((one for one in processes() if one.info["exe"] == path), None)

    def get(self, name: str) -> psutil.Process:
        found = self.find(name)
        assert found is not None, f"no {name} runs"
        return found


@contextmanager
def small_head(folder: Path) -> Iterator[SmallHead]:
    for name in NAMES:
        shutil.copy("/usr/bin/tail", folder / name)
    (folder / "start").write_text(START.format(folder=folder))
    head = SmallHead(folder)
    try:
        yield head
    finally:
        if (head.state / "lock").exists() and psutil.pid_exists(head.supervisor.pid):
            head.supervisor.terminate()
        assert until(lambda: not any(map(head.find, NAMES)))


def processes() -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["exe"]):
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process


def until(condition: Callable[[], object], *, timeout_s: float = 60.0) -> bool:
    """Whether it came true in time."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False
