"""A replica of the simulation: slots that work at a fixed pace, and a queue in front of them.

A request takes `first_s` and `each_s` for every token of its answer, however many others run: continuous batching below
its knee, which is what the number of slots stands for. First come, first served, so that start and end of a request are
known when it comes.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass

from tradewind.serving.autoscaling.signals import ReplicaSignal
from tradewind.serving.autoscaling.traces import Arrival
from tradewind.serving.report import ReplicaStatus


@dataclass(frozen=True)
class Pace:
    """`slots` requests at a time, each at this speed."""

    slots: int = 8
    first_s: float = 0.1
    each_s: float = 0.02

    def seconds(self, request: Arrival) -> float:
        return self.first_s + self.each_s * request.tokens_out


TTFT_MEMORY_S = 60.0


class ReplicaModel:
    def __init__(self, pace: Pace, *, asked_s: float, ready_s: float, capacity: float) -> None:
        self.pace, self.asked_s, self.ready_s, self.capacity = pace, asked_s, ready_s, capacity
        self.draining = False
        self._free_s = [ready_s] * pace.slots
        self._starts: deque[float] = deque()
        self._ends: list[tuple[float, int]] = []
        self._first_tokens: deque[tuple[float, float]] = deque()
        self.tokens_in_flight = 0
        self.last_end_s = ready_s

    def take(self, request: Arrival, now_s: float) -> float:
        """Accept a request. Returns when its first token is there."""
        start_s = max(now_s, heapq.heappop(self._free_s))
        end_s = start_s + self.pace.seconds(request)
        heapq.heappush(self._free_s, end_s)
        if start_s > now_s:
            self._starts.append(start_s)
        heapq.heappush(self._ends, (end_s, request.tokens))
        self.tokens_in_flight += request.tokens
        self.last_end_s = max(self.last_end_s, end_s)
        first_s = start_s + self.pace.first_s
        self._first_tokens.append((first_s, first_s - request.time_s))
        return first_s

    def advance(self, now_s: float) -> int:
        """Let time pass. Returns the tokens of the requests that ended."""
        done = 0
        while self._ends and self._ends[0][0] <= now_s:
            done += heapq.heappop(self._ends)[1]
        while self._starts and self._starts[0] <= now_s:
            self._starts.popleft()
        self.tokens_in_flight -= done
        return done

    def drain(self, now_s: float) -> None:
        """Take no more. It ends with its last answer, or at once when it has not started."""
        self.draining = True
        self.last_end_s = now_s if self.ready_s > now_s else max(now_s, self.last_end_s)

    def status(self, now_s: float) -> ReplicaStatus:
        if self.draining:
            return "draining"
        return "ready" if self.ready_s <= now_s else "starting"

    def is_over(self, now_s: float) -> bool:
        return self.draining and self.last_end_s <= now_s

    def signal(self, now_s: float) -> ReplicaSignal:
        waiting = len(self._starts)
        return ReplicaSignal(
            status=self.status(now_s),
            running=len(self._ends) - waiting,
            waiting=waiting,
            tokens_in_flight=self.tokens_in_flight,
            ttft_p95_s=self._ttft_p95_s(now_s),
            capacity=self.capacity,
        )

    def _ttft_p95_s(self, now_s: float) -> float | None:
        while self._first_tokens and self._first_tokens[0][0] < now_s - TTFT_MEMORY_S:
            self._first_tokens.popleft()
        seen = sorted(ttft_s for first_s, ttft_s in self._first_tokens if first_s <= now_s)
        return seen[int(0.95 * (len(seen) - 1))] if seen else None
