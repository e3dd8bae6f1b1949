"""What a cluster may cost an hour: machines that run, and machines that are being asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

ROUNDING_USD = 1e-6
"""Prices are tags in millionths of a dollar."""


@dataclass
class Cap:
    """`running_usd` says what the machines that are there cost an hour."""

    max_usd_per_hour: float
    running_usd: Callable[[], float]
    _asked_usd: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def reserve(self, usd_per_hour: float, count: int) -> Iterator[int]:
        """How many of `count` machines at this price fit. Their price is reserved until the block ends."""
        with self._lock:
            room = self.max_usd_per_hour - self.running_usd() - self._asked_usd + ROUNDING_USD
            fit = count if usd_per_hour <= 0 else max(0, min(count, int(room / usd_per_hour)))
            reserved = fit * usd_per_hour
            self._asked_usd += reserved
        try:
            yield fit
        finally:
            with self._lock:
                self._asked_usd -= reserved
