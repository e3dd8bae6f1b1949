"""Who serves: the replicas as they last reported themselves, and which of them takes the next request.

A board belongs to one event loop and is never locked. Times are seconds of a monotonic clock.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from tradewind.errors import SpecError
from tradewind.serving.report import ReplicaReport

STALE_AFTER_S = 3.0
"""Six reports missed: a replica that is silent so long gets no more requests."""
LOST_AFTER_S = 20.0
"""A replica that is silent so long is not coming back: what it has not answered goes elsewhere."""
RATE_WINDOW_S = 5.0
TOKENS_OF_A_REQUEST = 256.0
"""Assumed until a replica has reported one."""
SCAN_UP_TO = 8
"""Replicas that are all compared; of more, two drawn at random are (Mitzenmacher, "The power of two choices", 2001)."""


@dataclass(frozen=True)
class BoardSignals:
    """What a scaling policy can know at one moment."""

    time_s: float
    """Seconds since the epoch."""
    replicas: tuple[ReplicaReport, ...]
    queued: int
    """Requests that the front holds because no replica is ready."""
    arrivals_per_s: float
    tokens_per_s: float
    """Of answers, as replicas reported them."""


@dataclass(eq=False)
class Seat:
    """A replica's place at the board."""

    report: ReplicaReport
    host: str
    port: int
    heard_at: float
    refused: bool = False
    """It refused a connection since it last reported."""
    open: int = 0
    """Requests of this front that it has not answered to the end."""
    open_at_report: int = 0
    request_tokens: float = TOKENS_OF_A_REQUEST
    """Of one request, on average."""

    def load_with_one_more(self) -> float:
        """Share of the capacity that would be in flight: what was reported, and what came and went since."""
        since = self.open - self.open_at_report + 1
        return (self.report.tokens_in_flight + since * self.request_tokens) / self.report.capacity


class Rate:
    """How often something happened, over the last seconds."""

    def __init__(self, now: float) -> None:
        self.total = 0
        self._marks = deque([(now, 0)])

    def mark(self, now: float) -> None:
        """Called at least once a second, so that the window has an edge."""
        self._marks.append((now, self.total))
        while len(self._marks) > 2 and self._marks[1][0] <= now - RATE_WINDOW_S:
            self._marks.popleft()

    def per_s(self, now: float) -> float:
        since, before = self._marks[0]
        return (self.total - before) / max(now - since, 1.0)


class Board:
    """The replicas of one endpoint."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, stale_after_s: float = STALE_AFTER_S, seed: int = 0
    ) -> None:
        self.seats: dict[str, Seat] = {}
        self.arrivals = Rate(clock())
        self.tokens = Rate(clock())
        self._clock = clock
        self._stale_after_s = stale_after_s
        self._ready: list[Seat] = []
        self._turn = 0
        self._random = random.Random(seed)

    def report(self, report: ReplicaReport) -> None:
        """Take a replica's word. Raises SpecError for a report that cannot be true."""
        if not report.capacity > 0:
            raise SpecError(f"replica {report.replica!r} reports a capacity of {report.capacity}: it is above zero")
        seat = self.seats.get(report.replica)
        if seat is None:
            host, port = _address(report)
            seat = self.seats[report.replica] = Seat(report, host, port, self._clock())
        else:
            self.tokens.total += max(0, report.tokens_out - seat.report.tokens_out)
        seat.report, seat.heard_at, seat.refused = report, self._clock(), False
        seat.open_at_report = seat.open
        if requests := report.running + report.waiting:
            seat.request_tokens = max(1.0, report.tokens_in_flight / requests)
        self._sort()

    def leave(self, replica: str) -> None:
        """Take a replica off the board. Nothing happens when it is not there."""
        if self.seats.pop(replica, None):
            self._sort()

    def take_out(self, seat: Seat) -> None:
        """Give a replica nothing until its next report: it refused a connection, or died."""
        seat.refused = True
        self._sort()

    def expire(self) -> list[Seat]:
        """Drop whoever is silent; gives those that are lost for good, which are off the board now."""
        now = self._clock()
        lost = [seat for seat in self.seats.values() if now - seat.heard_at > LOST_AFTER_S]
        for seat in lost:
            del self.seats[seat.report.replica]
        self._sort()
        self.arrivals.mark(now)
        self.tokens.mark(now)
        return lost

    def ready(self) -> list[ReplicaReport]:
        """The reports of those that take requests now."""
        self._sort()
        return [seat.report for seat in self._ready]

    def choose(self, avoid: Seat | None = None) -> Seat | None:
        """The replica that would be the least loaded; `avoid` only where there is no other. None when none is ready."""
        ready = self._ready
        if avoid is not None and len(ready) > 1:
            ready = [seat for seat in ready if seat is not avoid]
        if len(ready) < 2:
            seat = ready[0] if ready else None
        elif len(ready) > SCAN_UP_TO:
            seat = min(self._random.sample(ready, 2), key=Seat.load_with_one_more)
        else:
            self._turn += 1  # equals take turns
            first = self._turn % len(ready)
            seat = min(ready[first:] + ready[:first], key=Seat.load_with_one_more)
        if seat is not None and self._clock() - seat.heard_at > self._stale_after_s:
            self._sort()
            return self.choose(avoid)
        return seat

    def signals(self, *, queued: int) -> BoardSignals:
        now = self._clock()
        heard = (seat.report for seat in self.seats.values() if now - seat.heard_at <= self._stale_after_s)
        return BoardSignals(time.time(), tuple(heard), queued, self.arrivals.per_s(now), self.tokens.per_s(now))

    def _sort(self) -> None:
        oldest = self._clock() - self._stale_after_s
        self._ready = [
            seat
            for seat in self.seats.values()
            if seat.report.status == "ready" and not seat.refused and seat.heard_at >= oldest
        ]


def _address(report: ReplicaReport) -> tuple[str, int]:
    url = urlsplit(report.url)
    if url.scheme != "http" or not url.hostname:
        raise SpecError(
            f"replica {report.replica!r} reports {report.url!r}, which is no address of the form http://host:port"
        )
    return url.hostname, url.port or 80
