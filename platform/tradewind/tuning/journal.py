"""Where a sweep's records are, and who may add to them: one driver, which any other that takes over shuts out."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from tradewind.clusters import this_process
from tradewind.errors import ConflictError, NotFoundError, StorageError
from tradewind.records import SweepEvent, SweepPage, SweepStart, SweepStop
from tradewind.storage import Store
from tradewind.storage.log import RecordLog

FOLDER = "sweeps"


@dataclass(frozen=True)
class SweepFiles:
    store: Store
    sweep: str

    def key(self, name: str) -> str:
        return f"{FOLDER}/{self.sweep}/{name}"

    def start(self) -> SweepStart:
        """Raises NotFoundError."""
        return SweepStart.from_json(self.store.get(self.key("sweep.json")), where=self.key("sweep.json"))

    @property
    def pages(self) -> RecordLog[SweepPage]:
        return RecordLog(self.store, self.key("log"), SweepPage)

    def events(self) -> Iterator[SweepEvent]:
        """All that happened, in order."""
        return (event for page in self.pages.all() for event in page.events)

    def ask_to_stop(self) -> None:
        self.store.put(self.key("stop.json"), SweepStop(sweep=self.sweep, host=socket.gethostname()).to_json())

    def is_asked_to_stop(self) -> bool:
        """A store that does not answer says nothing."""
        try:
            self.store.get(self.key("stop.json"))
        except (NotFoundError, StorageError):
            return False
        return True

    def forget_stop(self) -> None:
        self.store.delete(self.key("stop.json"))


class Journal:
    """Writes pages behind the `last` one. Raises ConflictError when another driver wrote that page."""

    def __init__(self, files: SweepFiles, last: int = 0) -> None:
        self._files = files
        self._last = last
        self._events: list[SweepEvent] = []
        self._process = this_process()

    def say(self, event: SweepEvent) -> None:
        """Have an event written with the next page."""
        self._events.append(event)

    def write(self) -> None:
        """Write what was said. What a store did not take is kept for the next time."""
        if not self._events:
            return
        number = self._last + 1
        page = SweepPage(
            sweep=self._files.sweep, number=number, process=self._process, events=tuple(self._events),
            parents=(f"{SweepStart.kind}:{self._files.sweep}",),
        )  # fmt: skip
        key, data = self._files.pages.key(number), page.to_json()
        try:
            self._files.store.create(key, data)
        except ConflictError:
            if not self._is_mine(self._files.store.get(key)):
                raise ConflictError(
                    f"sweep {self._files.sweep} is driven by another process now", hint="follow it: tw tune show"
                ) from None
        self._last = number
        self._events = self._events[len(page.events) :]

    def _is_mine(self, data: bytes) -> bool:
        """A create whose answer was lost is found done when it is tried again."""
        with contextlib.suppress(Exception):
            return SweepPage.from_json(data, where="").process == self._process
        return False
