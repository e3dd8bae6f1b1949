"""Runs the sweep every minute beside Ray's autoscaler, and at once when a leak was seen."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from tradewind.clusters.hybrid.sweep import Swept

EVERY_S = 60.0
log = logging.getLogger(__name__)


class Sweeper:
    def __init__(self, sweep: Callable[[], Swept], *, every_s: float = EVERY_S) -> None:
        self._sweep = sweep
        self._every_s = every_s
        self._wake = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tradewind-sweep", daemon=True)
                self._thread.start()

    def hurry(self) -> None:
        """Sweep now."""
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait(self._every_s)
            self._wake.clear()
            try:
                swept = self._sweep()
            except Exception:  # the thread must live as long as the head, whatever one round meets
                log.exception("the sweep for leaked machines failed; it is tried again in %g s", self._every_s)
                continue
            for problem in swept.problems:
                log.warning("sweep: %s", problem)
