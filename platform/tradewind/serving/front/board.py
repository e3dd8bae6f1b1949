"""Who serves: the replicas as they last reported themselves, and which of them takes the next request.

A board belongs to one event loop and is never locked. Times are seconds of a monotonic clock.
"""

from __future__ import annotations

import json
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args
from urllib.parse import urlsplit

from tradewind.errors import SpecError
from tradewind.serving.report import ReplicaReport, ReplicaStatus

STALE_AFTER_S = 3.0
"""Six reports missed: a replica that is silent so long gets no more requests."""
LOST_AFTER_S = 20.0
"""A replica that is silent so long is not coming back: what it has not answered goes elsewhere."""
LIFE = get_args(ReplicaStatus)
"""A replica's states in their order, of which none comes again."""
RATE_WINDOW_S = 5.0
TOKENS_OF_A_REQUEST = 256.0
"""Assumed until a replica has reported one."""
LEARNT_SHARE = 0.1
"""Of each report: what a request holds is forgotten within some ten of them."""
SCAN_UP_TO = 8
"""Replicas that are all compared; of more, two drawn at random are (Mitzenmacher, "The power of two choices", 2001)."""


@dataclass(frozen=True)
class BoardSignals:
    """What a scaling policy can know at one moment."""

    time_s: float
    """Seconds since the epoch."""
    replicas: tuple[ReplicaReport, ...]
    """Without spares."""
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
    prefix: bytes = b""
    """Of all paths there."""
    is_target: bool = False
    """It reports nothing by itself: what it answered is read in its answers."""
    answered_tokens: tuple[int, int] = (0, 0)
    """In and out, as far as the answers of a target say."""

    @property
    def is_leaving(self) -> bool:
        """It drains, or takes no requests: that it closes a connection is no sign that a request has harmed it."""
        return self.refused or self.report.status == "draining"

    def load_with_one_more(self, request_tokens: float) -> float:
        """Share of the capacity that would be in flight: what was reported, and what came and went since."""
        since = self.open - self.open_at_report + 1
        return (self.report.tokens_in_flight + since * request_tokens) / self.report.capacity


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
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        stale_after_s: float = STALE_AFTER_S,
        seed: int = 0,
        targets: tuple[str, ...] = (),
    ) -> None:
        self._targets = targets
        self.seats: dict[str, Seat] = {}
        self.spares: list[Seat] = []
        """Ready, and given no requests until they are wanted, but for those that the others are too full for."""
        self.arrivals = Rate(clock())
        self.tokens = Rate(clock())
        self._clock = clock
        self._stale_after_s = stale_after_s
        self._ready: list[Seat] = []
        self._left: dict[str, float] = {}
        """Who has gone, and when: what they said before may come later."""
        self.names: tuple[str, ...] = ()
        """Of the models behind the replicas that are ready; empty while one of them does not say."""
        self._marks: tuple[bytes, ...] = ()
        self._is_mixed = False
        self._offered: set[tuple[str, ...]] = set()
        self._wanted: int | None = None
        self._request_tokens = 0.0
        """Of one request, on average; 0 until a replica has reported one."""
        self._turn = 0
        self._random = random.Random(seed)

    def report(self, report: ReplicaReport) -> None:
        """Take a replica's word, unless it was overtaken: one that drains or has left does not come back.

        Raises SpecError for a report that cannot be true.
        """
        if not report.capacity > 0:
            raise SpecError(f"replica {report.replica!r} reports a capacity of {report.capacity}: it is above zero")
        seat = self.seats.get(report.replica)
        if report.replica in self._left or (seat and _is_older(report, seat.report)):
            return
        if seat is None:
            host, port, prefix = _address(report)
            is_target = report.url in self._targets
            seat = Seat(report, host, port, self._clock(), prefix=prefix, is_target=is_target)
            self.seats[report.replica] = seat
        else:
            self.tokens.total += max(0, report.tokens_out - seat.report.tokens_out)
        seat.report, seat.heard_at, seat.refused = report, self._clock(), False
        seat.open_at_report = seat.open
        if requests := report.running + report.waiting:
            self._learn(max(1.0, report.tokens_in_flight / requests))
        self._sort()

    def want(self, replicas: int) -> None:
        """So many get requests, one at the least, and the others are spare. Until it is said, all get some."""
        self._wanted = replicas
        self._sort()

    def leave(self, replica: str) -> None:
        """Take a replica off the board, for good. Nothing happens when it is not there."""
        self._left[replica] = self._clock()
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
        self._left = {name: left for name, left in self._left.items() if now - left <= LOST_AFTER_S}
        self._sort()
        self.arrivals.mark(now)
        self.tokens.mark(now)
        return lost

    def ready(self) -> list[ReplicaReport]:
        """The reports of those that take requests now."""
        self._sort()
        return [seat.report for seat in self._ready]

    def must_read(self, body: Sequence[bytes]) -> bool:
        """Whether the model that a request names decides who takes it: replicas differ, or nobody has it.

        A body without any of the names cannot ask for one of them, but for names in JSON's escapes.
        """
        if not self.names or not body:
            return False
        return self._is_mixed or not any(mark in part for part in body for mark in self._marks)

    def choose(self, avoid: Seat | None = None, *, model: str | None = None) -> Seat | None:
        """The replica that would be the least loaded; `avoid` only where there is no other. None when none is ready.

        With a model, one of those that have it.
        """
        ready = self._ready if model is None else [seat for seat in self._ready if model in seat.report.models]
        if avoid is not None and len(ready) > 1:
            ready = [seat for seat in ready if seat is not avoid]
        if len(ready) < 2:
            seat = ready[0] if ready else None
        elif len(ready) > SCAN_UP_TO:
            seat = min(self._random.sample(ready, 2), key=self._load)
        else:
            self._turn += 1  # equals take turns
            first = self._turn % len(ready)
            seat = min(ready[first:] + ready[:first], key=self._load)
        if seat is not None and self._clock() - seat.heard_at > self._stale_after_s:
            self._sort()
            return self.choose(avoid, model=model)
        if seat is not None and self.spares and self._is_full(seat):
            spares = [one for one in self.spares if model is None or model in one.report.models]
            return min([seat, *spares], key=self._load)
        return seat

    def signals(self, *, queued: int) -> BoardSignals:
        now = self._clock()
        heard = [seat for seat in self.seats.values() if now - seat.heard_at <= self._stale_after_s]
        reports = tuple(seat.report for seat in heard if seat.open or seat not in self.spares)
        return BoardSignals(time.time(), reports, queued, self.arrivals.per_s(now), self.tokens.per_s(now))

    def _load(self, seat: Seat) -> float:
        return seat.load_with_one_more(self._request_tokens or TOKENS_OF_A_REQUEST)

    def _is_full(self, seat: Seat) -> bool:
        return seat.report.waiting > 0 or self._load(seat) > 1

    def _learn(self, request_tokens: float) -> None:
        """One figure for all replicas: one that has had no request yet must not look the busier for it."""
        known = self._request_tokens or request_tokens
        self._request_tokens = known + LEARNT_SHARE * (request_tokens - known)

    def _sort(self) -> None:
        oldest = self._clock() - self._stale_after_s
        ready = [
            seat
            for seat in self.seats.values()
            if seat.report.status == "ready" and not seat.refused and seat.heard_at >= oldest
        ]
        wanted = len(ready) if self._wanted is None else max(1, self._wanted)
        self._ready, self.spares = ready[:wanted], ready[wanted:]
        self._read_names()

    def _read_names(self) -> None:
        offered = {seat.report.models for seat in self._ready}
        if offered != self._offered:
            self._offered, self._is_mixed = offered, len(offered) > 1
            self.names = tuple(dict.fromkeys(name for names in offered for name in names)) if all(offered) else ()
            self._marks = tuple(json.dumps(name, ensure_ascii=False).encode() for name in self.names)


def _is_older(report: ReplicaReport, known: ReplicaReport) -> bool:
    return LIFE.index(report.status) < LIFE.index(known.status)


def _address(report: ReplicaReport) -> tuple[str, int, bytes]:
    url = urlsplit(report.url)
    if url.scheme != "http" or not url.hostname:
        raise SpecError(
            f"replica {report.replica!r} reports {report.url!r}, which is no address of the form http://host:port"
        )
    return url.hostname, url.port or 80, url.path.rstrip("/").encode()
