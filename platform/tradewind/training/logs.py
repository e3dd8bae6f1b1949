"""What the workers of a run say, in the workspace, where it can be read when they and their Ray are gone.

An object store cannot append, so lines are written in parts, like metrics: about each second at first, later each
fiftieth of the process's age. A process writes `MOST_BYTES` at most. Of all ranks but the first, and of libraries, only
warnings are kept.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from tradewind.errors import StorageError
from tradewind.training.run import RunFiles

DRIVER = "driver"
LOGGERS = ("", "torch")
"""torch does not pass its own on to the first."""
MOST_BYTES = 2 * 2**20
SHORTEST_S = 1.0
SHARE_OF_AGE = 0.02


class RunLog(logging.Handler):
    """Keeps what is logged in this process. `who` is `driver` or a rank."""

    def __init__(self, files: RunFiles, who: str | int) -> None:
        super().__init__()
        self._files = files
        self._who = who if isinstance(who, str) else f"rank {who}"
        self._level = logging.WARNING if isinstance(who, int) and who > 0 else logging.INFO
        self._lines: list[str] = []
        self._room = MOST_BYTES
        self._left_out = 0
        self._ended = threading.Event()
        self._began = time.monotonic()
        self._writer = threading.Thread(target=self._write_parts, name="tradewind-log", daemon=True)

    def __enter__(self) -> Self:
        logging.getLogger("tradewind").setLevel(self._level)
        for name in LOGGERS:
            logging.getLogger(name).addHandler(self)
        self._writer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if exc:
            logging.getLogger(__name__).error("%s: %s", type(exc).__name__, exc, exc_info=exc)
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(self)
        self._ended.set()
        self._writer.join()

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith("tradewind") and record.levelno < logging.WARNING:
            return
        moment = datetime.fromtimestamp(record.created, UTC)
        line = f"{moment:%Y-%m-%d %H:%M:%S.%f} {self._who} {record.levelname.lower()}: {self.format(record)}"
        self._room -= len(line)
        if self._room < 0:
            self._left_out += 1
        else:
            self._lines.append(line.replace("\n", "\n    "))

    def _write_parts(self) -> None:
        while not self._ended.wait(max(SHORTEST_S, SHARE_OF_AGE * (time.monotonic() - self._began))):
            self._flush()
        if self._left_out:
            self._lines.append(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f} {self._who} {self._left_out} lines more")
        self._flush()

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        if not lines:
            return
        name = f"logs/{time.time_ns():020d}-{self._who.replace(' ', '-')}-{socket.gethostname()}.log"
        try:
            self._files.store.put(self._files.key(name), "\n".join(lines).encode())
        except StorageError:  # what cannot be written now may be, with the next lines
            self._lines = lines + self._lines


@dataclass(frozen=True, order=True)
class Line:
    at: str
    who: str
    text: str

    def __str__(self) -> str:
        return f"{self.at} {self.who} {self.text}"


class LogReader:
    """Reads the log of a run as it is written."""

    def __init__(self, files: RunFiles) -> None:
        self._files = files
        self._seen: set[str] = set()

    def new(self) -> list[Line]:
        """Lines written since the last call, in the order in which they were said."""
        keys = [item.key for item in self._files.store.list(self._files.key("logs")) if item.key not in self._seen]
        self._seen.update(keys)
        return sorted(line for key in keys for line in _lines(self._files.store.get(key).decode()))


def _lines(text: str) -> Iterator[Line]:
    """Lines that begin with blanks belong to the one before."""
    for whole in text.replace("\n    ", "\0").splitlines():
        day, moment, rest = whole.replace("\0", "\n    ").split(" ", 2)
        who = rest.partition(" ")[0] if rest.startswith(DRIVER) else " ".join(rest.split(" ", 2)[:2])
        yield Line(f"{day} {moment}", who, rest.removeprefix(f"{who} "))
