"""At most one sentinel for a machine, and whether one runs."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from tradewind.clusters.notices import run_folder

FILE = "sentinel.lock"


class TakenError(Exception):
    """Another process has the lock."""


@contextmanager
def only_one() -> Iterator[None]:
    """Hold the lock of this machine's sentinel. Raises TakenError when one runs."""
    with (run_folder() / FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise TakenError from exc
        yield
