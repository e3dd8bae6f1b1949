"""What is learned of the demand from one look to the next: size of requests, how many come, how long each works."""

from __future__ import annotations

import math

from tradewind.serving.autoscaling.signals import Signals

SMOOTHING_S = 5.0
TREND_S = 30.0
DAMPING_S = 30.0
"""A trend is trusted less the further ahead: it is followed for at most this long in sum."""
RESIDENCE_S = 60.0
SLOTS_S = 0.75
"""Time constants of the averages, like those above."""
TOKENS_OF_A_REQUEST = 512.0
"""Until the first request is seen."""


class Demand:
    """Smoothed figures, in steps of any length.

    The rate of requests follows Holt's method with a damped trend (Gardner and McKenzie, Management Science 31, 1985).
    The time that a request works is that of Little's law: requests that are worked on over those that end in a second,
    which holds with a queue and without one. What ends is what came less what more there is.
    """

    def __init__(self, slots: float | None = None) -> None:
        self.request_tokens = TOKENS_OF_A_REQUEST
        self.arrivals_per_s = 0.0
        self.trend_per_s2 = 0.0
        self.working_tokens = 0.0
        self.slots = slots
        """Requests that a replica works on while others wait for it: what is said first, then what is seen."""
        self._working = self._ended_per_s = 0.0
        self._requests = 0
        self._time_s: float | None = None
        self._seen_requests = False

    @property
    def residence_s(self) -> float | None:
        """How long a request works, without its time in a queue. None until requests have ended."""
        return self._working / self._ended_per_s if self._ended_per_s > 0 else None

    def update(self, signals: Signals) -> None:
        gap_s = 0.0 if self._time_s is None else max(0.0, signals.time_s - self._time_s)
        self._learn_size(signals, gap_s)
        self._learn_rate(signals, gap_s)
        self._learn_work(signals, gap_s)
        self._learn_slots(signals, gap_s)
        self._time_s = signals.time_s

    def arrivals_ahead(self, ahead_s: float) -> float:
        """Requests/s in `ahead_s`, never fewer than now: a forecast may only ask for more."""
        followed_s = DAMPING_S * (1 - math.exp(-ahead_s / DAMPING_S))
        return self.arrivals_per_s + max(0.0, self.trend_per_s2) * followed_s

    def _learn_size(self, signals: Signals, gap_s: float) -> None:
        taken = signals.requests - signals.queued
        if taken <= 0:
            return
        seen = signals.tokens_in_flight / taken
        weight = _weight(gap_s, SMOOTHING_S) if self._seen_requests else 1.0
        self.request_tokens += weight * (seen - self.request_tokens)
        self._seen_requests = True

    def _learn_rate(self, signals: Signals, gap_s: float) -> None:
        if self._time_s is None:
            self.arrivals_per_s = signals.arrivals_per_s
            return
        if gap_s == 0:
            return
        before = self.arrivals_per_s
        self.arrivals_per_s += _weight(gap_s, SMOOTHING_S) * (signals.arrivals_per_s - before)
        slope = (self.arrivals_per_s - before) / gap_s
        self.trend_per_s2 += _weight(gap_s, TREND_S) * (slope - self.trend_per_s2)

    def _learn_work(self, signals: Signals, gap_s: float) -> None:
        running = signals.requests - signals.waiting
        waiting_tokens = (signals.waiting - signals.queued) * self.request_tokens
        working_tokens = max(0.0, signals.tokens_in_flight - waiting_tokens)
        self.working_tokens += _weight(gap_s, SMOOTHING_S) * (working_tokens - self.working_tokens)
        if gap_s:
            more_per_s = (signals.requests - self._requests) / gap_s
            weight = _weight(gap_s, RESIDENCE_S)
            self._working += weight * (running - self._working)
            self._ended_per_s += weight * (signals.arrivals_per_s - more_per_s - self._ended_per_s)
        self._requests = signals.requests

    def _learn_slots(self, signals: Signals, gap_s: float) -> None:
        """From what replicas report as their capacity towards what they are seen to do, and up again at once."""
        ready = signals.ready
        if not ready:
            return
        running = sum(one.running for one in ready) / len(ready)
        if all(one.waiting for one in ready):
            reported = sum(one.capacity for one in ready) / len(ready) / self.request_tokens
            before = reported if self.slots is None else self.slots
            self.slots = before * (max(1.0, running) / before) ** _weight(gap_s, SLOTS_S)  # it may be far off
        if self.slots is not None:
            self.slots = max(self.slots, running)


def _weight(gap_s: float, constant_s: float) -> float:
    return 1 - math.exp(-gap_s / constant_s)
