"""Whether inputs that wait can all be answered in time, and in which batches."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import inf


class Plan:
    """The batches that answer everything in time and end soonest, from `free_at` on.

    `seconds[n]` is what a batch of n takes, and never falls with n. Inputs go in the order of their deadlines, each
    batch the next so many: with times that depend on the size alone any other schedule can be sorted into such a one
    (an exchange of two inputs never makes one late), and of those the one that ends each prefix soonest is found by
    dynamic programming.
    """

    def __init__(self, free_at: float, seconds: Sequence[float]) -> None:
        self._seconds = seconds
        self._due: list[float] = []
        self._ends = [free_at]
        """When the first k inputs are done, at the soonest."""
        self._sizes = [0]
        """Of the batch that ends then."""

    def add(self, due: float, count: int = 1) -> bool:
        """Take so many more inputs with one deadline in, unless something would be late then."""
        at = bisect_right(self._due, due)
        before = (self._due, self._ends, self._sizes)
        self._due = [*self._due[:at], *[due] * count, *self._due[at:]]
        self._ends, self._sizes = self._ends[: at + 1], self._sizes[: at + 1]
        for number in range(at + 1, len(self._due) + 1):
            end, size = self._soonest(number)
            if end == inf:
                self._due, self._ends, self._sizes = before
                return False
            self._ends.append(end)
            self._sizes.append(size)
        return True

    def first_batch(self) -> int:
        """How many inputs, of those with the nearest deadlines, go first; 0 of none."""
        number, size = len(self._due), 0
        while number:
            size = self._sizes[number]
            number -= size
        return size

    def _soonest(self, number: int) -> tuple[float, int]:
        best, best_size = inf, 0
        ends, due, seconds = self._ends, self._due, self._seconds
        for size in range(1, min(number, len(seconds) - 1) + 1):
            end = ends[number - size] + seconds[size]
            if end < best and end <= due[number - size]:
                best, best_size = end, size
        return best, best_size
