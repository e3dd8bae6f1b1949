"""What a replica takes and gives, written to the ledger while it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tradewind import progress
from tradewind.clusters import this_machine
from tradewind.ledger import Ledger, effort, usage
from tradewind.ledger.usage import NOTHING
from tradewind.records import Usage

WRITE_EVERY_S = 2.0
HELD_EVERY_S = 600.0
"""So often is written down that a machine was held, also when it has answered nothing."""


@dataclass(frozen=True)
class Served:
    """One request that was taken on and has ended. `began` is a moment of `time.monotonic`."""

    began: float
    seconds: float
    answered: bool
    """To the end: nothing failed, and nobody went away."""


class UsageMeter:
    """Adds up what requests took, and writes it to the ledger every few seconds and at the end.

    `tokens` gives the engine's tokens in and out since its start. They count in the row of the time in which they were
    made, a request in that of its end. The machine is held from `began`, a moment of `time.monotonic`, until the last
    row, whether or not it answers. Of what is served elsewhere nobody here knows what it
    holds: those rows have none.
    """

    def __init__(
        self,
        ledger: Ledger,
        subject: str,
        *,
        model: str,
        tokens: Callable[[], tuple[int, int]],
        team: str = "",
        began: float | None = None,
        is_elsewhere: bool = False,
    ) -> None:
        self._ledger = ledger
        self._subject = subject
        self._model = model
        self._is_elsewhere = is_elsewhere
        self._team = team
        self._machine = this_machine()
        self._cpu = time.process_time()
        self._held_since = time.monotonic() if began is None else began
        self._busy, self._productive = Busy(self._held_since), Busy(self._held_since)
        self._tokens = tokens
        self._told = tokens()
        self._served: list[Served] = []
        self._unwritten: list[Usage] = []
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write_until_the_end, name="tradewind-metering", daemon=True)

    def start(self) -> None:
        """Write from now on, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Write the last row. Raises StorageError when the ledger does not take it."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self.close_row(is_last=True)
        self.write()

    def add(self, served: Served) -> None:
        """Count one request that has ended."""
        self._served.append(served)

    def close_row(self, *, is_last: bool = False) -> None:
        """Make a row of the time since the last one, when something was done in it, or it is long, or the last."""
        tokens = self._tokens()
        is_due = is_last or time.monotonic() - self._held_since >= HELD_EVERY_S
        if self._served or tokens != self._told or (is_due and not self._is_elsewhere):
            served, self._served = self._served, []
            self._unwritten.append(self._row(served, tokens))

    def write(self) -> None:
        """Write the rows that are not in the ledger yet. Raises StorageError, and then keeps them."""
        with self._writing:
            while self._unwritten:
                row = self._unwritten[0]
                self._ledger.record([row], name=row.usage_id)
                self._unwritten.pop(0)

    def _write_until_the_end(self) -> None:
        while not self._ended.wait(WRITE_EVERY_S):
            self.close_row()
            try:
                self.write()
            except Exception as exc:  # noqa: BLE001 - a ledger that cannot be written must not end the serving
                progress.print_line(f"the ledger is not written, trying again: {exc}")

    def _row(self, served: list[Served], tokens: tuple[int, int]) -> Usage:
        cpu, self._cpu = time.process_time() - self._cpu, time.process_time()
        held_since, self._held_since = self._held_since, time.monotonic()
        told, self._told = self._told, tokens
        devices = self._machine.devices
        return usage(
            "serving",
            self._subject,
            self._machine,
            NOTHING
            if self._is_elsewhere
            else effort(self._machine, seconds=self._held_since - held_since, cpu_seconds=cpu),
            requests=len(served),
            tokens_in=tokens[0] - told[0],
            tokens_out=tokens[1] - told[1],
            parents=(f"model:{self._model}",),
            team=self._team,
            used_s=self._busy.seconds(served) * devices,
            productive_s=self._productive.seconds([one for one in served if one.answered]) * devices,
        )


class Busy:
    """Seconds in which at least one of some requests was open; each second counts once."""

    def __init__(self, began: float) -> None:
        self._counted_until = began

    def seconds(self, served: list[Served]) -> float:
        """Those of requests that have ended since the last call, without what was counted then."""
        busy = 0.0
        for one in sorted(served, key=lambda one: one.began):
            end = one.began + one.seconds
            busy += max(0.0, end - max(one.began, self._counted_until))
            self._counted_until = max(self._counted_until, end)
        return busy
