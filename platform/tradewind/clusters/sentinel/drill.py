"""A notice that a person raises, to see what happens: `tw chaos notice 30s`."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

from tradewind.clusters.notices import Notice, read, run_folder, withdraw, write
from tradewind.clusters.sentinel.lock import TakenError, only_one
from tradewind.errors import ConflictError

FILE = "drill.json"


class DrillNotices:
    pause_s = 0.2

    def __init__(self, folder: Path | None = None) -> None:
        self._path = (folder or run_folder()) / FILE

    def poll(self) -> Notice | None:
        notice = read(self._path)
        return None if notice is None or notice.is_over() else notice

    def acknowledge(self, notice: Notice) -> None:  # noqa: ARG002
        """A drill that was carried out is no more."""
        self._path.unlink(missing_ok=True)


def raise_drill(warning_s: float) -> Notice:
    """Raise a notice for the sentinel that runs here.

    Raises ConflictError when none would carry it out, AuthError when it is another user's.
    """
    try:
        with only_one():
            raise ConflictError("no sentinel runs here", hint="start `python -m tradewind.clusters.sentinel`")
    except TakenError:
        return _raise(warning_s)


def end_drill() -> None:
    """Take back a notice that was raised by hand, and what it has told."""
    (run_folder() / FILE).unlink(missing_ok=True)
    withdraw()


def _raise(warning_s: float) -> Notice:
    notice = Notice(
        reason="a drill",
        deadline_unix_s=time.time() + warning_s,
        kind="preemption",
        source="drill",
        event=f"drill/{uuid.uuid4().hex}",
    )
    write(run_folder() / FILE, notice)
    return notice
