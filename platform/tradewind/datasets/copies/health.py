"""How one copy answers, as this process has measured it: time to the first byte, speed, and whether to leave it alone.

Averages are exponentially weighted (the newest counts a fifth). What a read should take follows from them; how much
longer the slowest in twenty took is the patience with which the next one is waited for.
"""

from __future__ import annotations

import threading
import time
from collections import deque

WEIGHT = 0.2
SAMPLES, FEWEST_SAMPLES = 200, 20
PERCENTILE = 0.95
SHORTEST_PATIENCE_S = 0.05
MEASURES_SPEED_BYTES, SHORTEST_MEASURED_S = 256 * 1024, 0.001
"""What is smaller, or came all at once, says nothing about speed."""
COOL_DOWN_S, LONGEST_COOL_DOWN_S = 15.0, 900.0


class Health:
    """May be used by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first_s: float | None = None
        self._bytes_per_s: float | None = None
        self._ratios: deque[float] = deque(maxlen=SAMPLES)
        self._cool_until = 0.0
        self._failures = 0

    @property
    def is_cooling(self) -> bool:
        """Whether it has failed lately, so that others go first."""
        return time.monotonic() < self._cool_until

    def expected_s(self, num_bytes: int) -> float | None:
        """What a read should take, or None before the first."""
        with self._lock:
            return self._expected_s(num_bytes)

    def patience_s(self, num_bytes: int) -> float | None:
        """How long nearly all such reads take, or None until enough were measured."""
        with self._lock:
            expected = self._expected_s(num_bytes)
            if expected is None or len(self._ratios) < FEWEST_SAMPLES:
                return None
            slow = sorted(self._ratios)[int(len(self._ratios) * PERCENTILE)]
            return max(SHORTEST_PATIENCE_S, slow * expected)

    def succeeded(self, num_bytes: int, *, first_s: float, total_s: float) -> None:
        with self._lock:
            expected = self._expected_s(num_bytes)
            if expected and (self._bytes_per_s or num_bytes < MEASURES_SPEED_BYTES):
                self._ratios.append(total_s / expected)
            self._failures, self._cool_until = 0, 0.0
            self._measure(num_bytes, first_s, total_s)

    def overtaken(self, num_bytes: int, *, first_s: float | None, total_s: float) -> None:
        """Another copy was faster. One from which nothing has come at all is left alone for a while."""
        with self._lock:
            self._measure(num_bytes, total_s if first_s is None else first_s, total_s)
        if first_s is None and total_s >= 1:
            self.failed()

    def failed(self) -> None:
        with self._lock:
            pause = min(LONGEST_COOL_DOWN_S, COOL_DOWN_S * 2.0 ** min(self._failures, 10))
            self._failures += 1
            self._cool_until = time.monotonic() + pause

    def _expected_s(self, num_bytes: int) -> float | None:
        if self._first_s is None:
            return None
        return self._first_s + (num_bytes / self._bytes_per_s if self._bytes_per_s else 0.0)

    def _measure(self, num_bytes: int, first_s: float, total_s: float) -> None:
        self._first_s = _average(self._first_s, first_s)
        if num_bytes >= MEASURES_SPEED_BYTES and total_s - first_s > SHORTEST_MEASURED_S:
            self._bytes_per_s = _average(self._bytes_per_s, num_bytes / (total_s - first_s))


def _average(old: float | None, new: float) -> float:
    return new if old is None else (1 - WEIGHT) * old + WEIGHT * new
