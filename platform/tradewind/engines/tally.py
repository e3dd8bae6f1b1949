"""Counts of an engine's requests and tokens, and how long first tokens took."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tradewind.engines.engine import EngineLoad

WINDOW_S = 60.0
TTFT_BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the histogram's buckets; the last bucket has none."""
KEPT = 4096
"""So many first tokens of the last minute are kept, the newest: enough for a percentile, and a bound on memory."""


@dataclass(slots=True, eq=False)
class Open:
    """A request that has not ended: its tokens so far, and whether it has a slot."""

    tokens_in: int
    tokens_out: int = 0
    running: bool = False
    began_s: float = field(default_factory=time.monotonic)


class Tally:
    """Kept by one thread, read by any."""

    def __init__(self) -> None:
        self._open: set[Open] = set()
        self.tokens_in = 0
        self.tokens_out = 0
        self.first_tokens = FirstTokens()

    @contextmanager
    def request(self, tokens_in: int) -> Iterator[Open]:
        """A request from its arrival to its end, however it ends."""
        one = Open(tokens_in)
        self._open.add(one)
        self.tokens_in += tokens_in
        try:
            yield one
        finally:
            self._open.discard(one)

    def made(self, one: Open, tokens: int) -> None:
        """Count new tokens of a request."""
        if not one.tokens_out and tokens:
            self.first_tokens.add(time.monotonic() - one.began_s)
        one.tokens_out += tokens
        self.tokens_out += tokens

    def load(self, *, room: int | None = None) -> EngineLoad:
        """The load, `kv_use` as the share of `room` tokens that running requests hold."""
        requests = list(self._open)
        running = [one for one in requests if one.running]
        held = sum(one.tokens_in + one.tokens_out for one in running)
        return EngineLoad(
            running=len(running),
            waiting=len(requests) - len(running),
            tokens_in_flight=sum(one.tokens_in + one.tokens_out for one in requests),
            kv_use=min(1.0, held / room) if room else None,
            ttft_p95_s=self.first_tokens.p95_s(),
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
        )


class FirstTokens:
    """Seconds to first tokens: a histogram since the start, and the values of the last minute."""

    def __init__(self) -> None:
        self.buckets = [0] * (len(TTFT_BOUNDS_S) + 1)
        self.sum_s = 0.0
        self._recent: deque[tuple[float, float]] = deque(maxlen=KEPT)

    def add(self, seconds: float) -> None:
        self.buckets[bisect_left(TTFT_BOUNDS_S, seconds)] += 1
        self.sum_s += seconds
        self._recent.append((time.monotonic(), seconds))

    def p95_s(self) -> float | None:
        """The nearest-rank 95th percentile of the last minute."""
        since = time.monotonic() - WINDOW_S
        values = sorted(seconds for at, seconds in self._recent.copy() if at >= since)
        return values[-(-len(values) * 95 // 100) - 1] if values else None
