"""Whether this machine is about to be taken away: what the sentinel knows, for training, tuning and serving.

A notice is a small file that the sentinel puts in place in one step, so any process of any user reads it whole, and a
subscriber looks at its time stamp five times a second. Nothing here needs a sentinel: without one there is no notice.

The file is in `$TRADEWIND_RUN`, or in `/run/tradewind` where root writes it, or in `/tmp/tradewind`. Outside
`$TRADEWIND_RUN` only files of root and of the reader's own user count, so nobody else can feign a notice.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from tradewind.errors import AuthError, IntegrityError

RUN = "TRADEWIND_RUN"
FOLDERS = (Path("/run/tradewind"), Path("/tmp/tradewind"))  # noqa: S108 - the owner is checked
FILE = "notice.json"
POLL_S = 0.2
OVER_S = 60.0
"""A machine that still runs so long after its deadline was not taken away; the notice is over."""

Kind = Literal["preemption", "rebalance", "maintenance"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What a cloud has said of this machine.

    A `preemption`, or a `maintenance` that ends the machine, has a deadline, in unix seconds of this machine's clock.
    Without a deadline the machine may well live on: a `rebalance` says that it is likelier to go than others, a
    `maintenance` that it stands still for a moment. `event` is the cloud's own name of what happens.
    """

    reason: str
    deadline_unix_s: float | None
    kind: Kind
    source: str
    event: str = ""
    noticed_unix_s: float = field(default_factory=time.time)

    @property
    def is_certain(self) -> bool:
        """Whether the machine ends."""
        return self.deadline_unix_s is not None

    def remaining_s(self) -> float | None:
        """Seconds until the deadline, never below 0; None without one."""
        return None if self.deadline_unix_s is None else max(0.0, self.deadline_unix_s - time.time())

    def is_over(self) -> bool:
        return self.deadline_unix_s is not None and time.time() > self.deadline_unix_s + OVER_S


def current() -> Notice | None:
    """The notice that holds for this machine now. Raises IntegrityError when its file was damaged."""
    for folder in _folders():
        notice = read(folder / FILE)
        if notice and not notice.is_over():
            return notice
    return None


def subscribe(callback: Callable[[Notice], object]) -> Subscription:
    """Call `callback` in a thread of its own for the notice that holds and for each later one, until closed.

    A notice reaches it within about `POLL_S` seconds. What the callback raises is logged and ends nothing.
    """
    return Subscription(callback)


class Subscription:
    def __init__(self, callback: Callable[[Notice], object]) -> None:
        self._callback = callback
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tradewind-notices", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Call no more. Waits for a callback that runs, unless it is the one that closes."""
        self._closed.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _watch(self) -> None:
        told, seen = None, None
        while True:
            stamps = _stamps()
            if stamps != seen:
                seen = stamps
                told = self._tell(told)
            if self._closed.wait(POLL_S):
                return

    def _tell(self, told: Notice | None) -> Notice | None:
        try:
            notice = current()
            if notice and notice != told:
                self._callback(notice)
            return notice
        except Exception:  # noqa: BLE001 - the thread is the boundary: a bad callback must not cost the next notice
            _log.exception("a notice could not be passed on")
            return told


def announce(notice: Notice) -> Notice:
    """Let a notice hold, and give the one that holds now.

    One that holds already stays when it is of the same event, or more urgent and not past. Raises AuthError when
    another user owns the folder.
    """
    try:
        held = current()
    except IntegrityError:
        held = None  # what is damaged is replaced
    if held and (held.event == notice.event or (_urgency(held) < _urgency(notice) and held.remaining_s() != 0)):
        return held
    write(run_folder() / FILE, notice)
    return notice


def withdraw() -> None:
    """Let no notice hold that this user can take back."""
    for folder in _folders():
        if os.access(folder, os.W_OK):
            (folder / FILE).unlink(missing_ok=True)


def run_folder() -> Path:
    """The folder that this process may write notices to; it is made. Raises AuthError when it belongs to another."""
    chosen = os.environ.get(RUN)
    folder = Path(chosen) if chosen else FOLDERS[0] if os.geteuid() == 0 else FOLDERS[-1]
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK) or not (chosen or _is_trusted(folder)):
        raise AuthError(f"{folder} belongs to another user", hint=f"remove it, or set {RUN} to a folder of your own")
    return folder


def read(path: Path) -> Notice | None:
    """The notice in a file: none when there is no file, or one of an earlier boot or of a user who is not trusted."""
    try:
        if not (os.environ.get(RUN) or _is_trusted(path)):
            return None
        values = json.loads(path.read_bytes())
        if values.pop("boot_id") != boot_id():
            return None
        return Notice(**{key: value for key, value in values.items() if key in _FIELDS})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise IntegrityError(f"{path} is not a notice: {exc}", hint="delete it") from exc


def write(path: Path, notice: Notice) -> None:
    """Put a notice in place in one step, for everybody to read."""
    values: dict[str, Any] = {**asdict(notice), "boot_id": boot_id()}
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    with os.fdopen(handle, "w") as file:
        json.dump(values, file)
        os.fchmod(file.fileno(), 0o644)
    Path(name).replace(path)


def boot_id() -> str:
    """Changes when the machine starts anew: https://docs.kernel.org/admin-guide/sysctl/kernel.html#random."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


_FIELDS = {item.name for item in fields(Notice)}


def _folders() -> tuple[Path, ...]:
    chosen = os.environ.get(RUN)
    return (Path(chosen),) if chosen else FOLDERS


def _stamps() -> list[tuple[int, int]]:
    return list(_each_stamp())


def _each_stamp() -> Iterator[tuple[int, int]]:
    for folder in _folders():
        try:
            state = (folder / FILE).stat()
        except OSError:
            continue
        yield state.st_ino, state.st_mtime_ns


def _is_trusted(path: Path) -> bool:
    return path.stat().st_uid in {0, os.geteuid()}


def _urgency(notice: Notice) -> float:
    return float("inf") if notice.deadline_unix_s is None else notice.deadline_unix_s
