"""What a worker hears from outside while it trains: that it shall start anew elsewhere, or that the run shall stop.

Threads listen; the loop asks once a step and all ranks agree on the answer, so that they stop at the same step.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from tradewind.clusters import notices
from tradewind.errors import NotFoundError, StorageError
from tradewind.training import recovery
from tradewind.training.run import STOP, RunFiles

ASK_EVERY_S = 2.0


class Control:
    """`asks` for the run's wish to stop in the store; one rank does, for all."""

    def __init__(self, files: RunFiles, *, asks: bool) -> None:
        self._files = files
        self._asks = asks
        self._ended = threading.Event()
        self._stop = False
        self._subscription: notices.Subscription | None = None
        self._thread = threading.Thread(target=self._ask, name="tradewind-control", daemon=True)

    def __enter__(self) -> Self:
        self._subscription = notices.subscribe(recovery.heed)
        if self._asks:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._ended.set()
        if self._subscription:
            self._subscription.close()
        if self._thread.is_alive():
            self._thread.join()

    def wishes(self) -> tuple[float, float]:
        """Whether this rank wants the run to stop, and whether it wants to leave: 0 or 1 each."""
        return float(self._stop), float(recovery.interruption() is not None)

    def _ask(self) -> None:
        while not self._ended.wait(ASK_EVERY_S):
            if is_asked_to_stop(self._files):
                self._stop = True
                return


def is_asked_to_stop(files: RunFiles) -> bool:
    """Whether somebody wants the run to end. A store that does not answer says nothing."""
    try:
        files.store.get(files.key(STOP))
    except (NotFoundError, StorageError):
        return False
    return True
