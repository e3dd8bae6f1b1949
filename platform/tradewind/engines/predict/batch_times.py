"""How long batches take by their size, as measured, and the size beyond which a larger one gains too little."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from itertools import accumulate
from math import log2

MEASURED = 5
"""Batches of a size from which its rate is known: that of the fastest, since whatever disturbs only slows."""
REMEMBERED = 12
TRY_EVERY = 16
"""Full batches after which larger sizes are tried again: they were disturbed, or the model gets other inputs now."""
AHEAD = 4
"""So many times the best size is tried before that stays the best: many a model is slow at one size between."""


class _Size:
    """Seconds of the latest batches of one size. The first is slower in most models, and forgotten with the second."""

    def __init__(self, seconds: float) -> None:
        self.latest = deque([seconds], maxlen=REMEMBERED)
        self._is_first = True

    def add(self, seconds: float) -> None:
        if self._is_first:
            self.latest.clear()
            self._is_first = False
        self.latest.append(seconds)

    @property
    def upper_s(self) -> float:
        """The longest but one, so that one disturbance is not believed and two are; of a few, the longest."""
        longest = sorted(self.latest)
        return longest[-2] if len(longest) >= MEASURED else longest[-1]


class BatchTimes:
    """`limit` is the most inputs of a batch for now. It doubles while that makes `gain` times as many a second.

    It never grows beyond `most`. All times are in seconds.
    """

    def __init__(self, *, gain: float = 1.1, most: int = 256) -> None:
        self.limit = 1
        self._best = 1
        self._gain = gain
        self._most = most
        self._sizes: dict[int, _Size] = {}
        self._known: list[int] = []
        self._upper: list[float] = []
        """Of each known size, what it takes at most: never more than a larger one."""
        self._until_next_try = 0

    @property
    def is_settled(self) -> bool:
        """No larger size is being tried."""
        return self._until_next_try > 0

    def of(self, size: int) -> float:
        """What a batch of a size will take at most, so far as is known; 0 before anything is.

        Of a size that was not measured, what the next larger one takes; beyond the largest, in proportion to it.
        """
        if not self._known:
            return 0.0
        at = bisect_left(self._known, size)
        return self._upper[at] if at < len(self._known) else self._upper[-1] * size / self._known[-1]

    def upto(self, limit: int) -> list[float]:
        """`of` each size from 0 to a limit."""
        return [0.0, *(self.of(size) for size in range(1, limit + 1))]

    def add(self, size: int, seconds: float) -> None:
        """Take a measured batch into account."""
        if size in self._sizes:
            self._sizes[size].add(seconds)
        else:
            self._sizes[size] = _Size(seconds)
            insort(self._known, size)
        if size == self.limit:
            self._look_at_the_limit()
        uppers = (self._sizes[known].upper_s for known in reversed(self._known))
        self._upper = list(accumulate(uppers, min))[::-1]

    def _look_at_the_limit(self) -> None:
        if self._until_next_try:
            self._until_next_try -= 1
            if self._until_next_try:
                return
        if len(self._sizes[self.limit].latest) < MEASURED:
            return
        if self._rate(self.limit) >= self._gain ** log2(self.limit / self._best) * self._rate(self._best):
            self._best = self.limit
        if self.limit < min(AHEAD * self._best, self._most):
            self.limit = min(2 * self.limit, self._most)
            self._forget(self.limit)
        else:
            self.limit, self._until_next_try = self._best, TRY_EVERY

    def _forget(self, size: int) -> None:
        if self._sizes.pop(size, None):
            self._known.remove(size)

    def _rate(self, size: int) -> float:
        """Inputs a second."""
        latest = list(self._sizes[size].latest)[-MEASURED:]  # as many of each, or more of them would look faster
        return size / max(min(latest), 1e-9)
