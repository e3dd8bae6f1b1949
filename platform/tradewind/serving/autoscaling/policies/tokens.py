"""The default policy: as many replicas as the tokens in flight and the queue need, with guards and a forecast.

Tokens in flight that arriving requests will keep at work are their rate times their tokens times the time that one
works (Little's law), the rate being that of the moment when a replica asked for now would be ready. Requests come
unevenly, so room for a multiple of the square root of their number is kept on top (square-root staffing; Halfin and
Whitt, Operations Research 29, 1981): many replicas together need less room for each. What waits is to be finished
within the goal for the first token, at most `CLEAR_S`, on top of that.

Guards ask for one more: when a key/value cache is nearly full, and when the time to the first token misses its goal
under load. A replica that has requests waiting shows what it really carries, which counts when it is less than it
reports. Replicas that are starting count as there, so that a cold start is not answered twice.
"""

from __future__ import annotations

import math

from tradewind.serving.autoscaling.limits import Limits
from tradewind.serving.autoscaling.policies.demand import Demand
from tradewind.serving.autoscaling.policies.steady import Steady
from tradewind.serving.autoscaling.signals import Decision, Signals

ROOM = 2.0
"""Square roots of the number of requests at work. More costs replicas, less costs users time: both are in
docs/benchmarks/autoscaling.md for several values."""
CLEAR_S = 4.0
KV_FULL = 0.9
LOADED = 0.6
"""Share of the capacity in use from which a missed TTFT is put down to load."""
BAND = 0.25
"""Of a replica: this much more demand must still fit before one is given up."""
SLACK = 0.1
"""Of a replica: what is not worth another one."""


class Tokens:
    """`room` is kept free for what comes unevenly, where the limits do not say how much a replica should hold.

    `slots` is how many requests a replica works on at a time, where that is known.
    """

    def __init__(self, limits: Limits, *, room: float = ROOM, slots: float | None = None) -> None:
        self.limits = limits
        self.room = room
        self._demand = Demand(slots)
        self._reported = 0.0
        self._steady = Steady(limits)

    def decide(self, signals: Signals) -> Decision:
        self._demand.update(signals)
        inputs = self._inputs(signals)
        need, why = self._need(signals, inputs)
        inputs["needed"] = need
        target, held = self._steady.settle(signals.time_s, signals.target, need, self._keep(need, inputs))
        return Decision(target, f"{why}; {held}" if held else why, inputs)

    def _need(self, signals: Signals, inputs: dict[str, float]) -> tuple[int, str]:
        if signals.is_idle:
            return 0, "no requests"
        exact = inputs["at_work"] + inputs["backlog"]
        need = max(1, math.ceil(exact - SLACK))
        guarded, guard = self._guards(signals, inputs)
        if guarded > need:
            return guarded, guard
        others = f" and {signals.waiting} waiting requests" if signals.waiting else ""
        return need, f"tokens in flight{others} need {exact:.2f} replicas"

    def _keep(self, need: int, inputs: dict[str, float]) -> int:
        """What is not given up: as much as a little more demand would need."""
        return math.ceil(inputs["at_work"] + inputs["backlog"] + BAND) if need else 0

    def _inputs(self, signals: Signals) -> dict[str, float]:
        demand, capacity = self._demand, self._capacity(signals)
        waiting_tokens = signals.waiting * demand.request_tokens
        residence_s = demand.residence_s
        clear_s = min(CLEAR_S, self.limits.ttft_s or CLEAR_S)
        cleared = min(1.0, residence_s / clear_s) if residence_s else 1.0
        return {
            "at_work": self._at_work_tokens() / capacity if capacity else 0.0,
            "backlog": waiting_tokens * cleared / capacity if capacity else 0.0,
            "tokens_in_flight": signals.tokens_in_flight,
            "waiting": signals.waiting,
            "arrivals_per_s": signals.arrivals_per_s,
            "request_tokens": demand.request_tokens,
            "residence_s": residence_s or 0.0,
            "capacity": capacity,
            "ready": len(signals.ready),
            "starting": signals.starting,
            "kv_use": max((one.kv_use or 0.0 for one in signals.ready), default=0.0),
            "ttft_p95_s": max((one.ttft_p95_s or 0.0 for one in signals.ready), default=0.0),
        }

    def _at_work_tokens(self) -> float:
        """With room; not below what is at work now, which counts by itself until the time of a request is known."""
        demand = self._demand
        ahead_s = self.limits.cold_start_s if self.limits.forecast else 0.0
        requests = demand.working_tokens / demand.request_tokens
        if demand.residence_s:
            requests = max(requests, demand.arrivals_ahead(ahead_s) * demand.residence_s)
        room = 0.0 if self.limits.target_tokens else self.room * math.sqrt(requests)
        return (requests + room) * demand.request_tokens

    def _capacity(self, signals: Signals) -> float:
        """Tokens in flight that one replica carries, no more than its slots were seen to hold; 0 while unknown."""
        known = [one.capacity for one in signals.ready] or [one.capacity for one in signals.replicas]
        if known:
            self._reported = sum(known) / len(known)
        carried, slots = self._reported, self._demand.slots
        if target := self.limits.target_tokens:
            carried = min(target, carried or target)  # less where chips are slower than the one that it is meant for
        return carried if slots is None else min(carried, max(1.0, slots) * self._demand.request_tokens)

    def _guards(self, signals: Signals, inputs: dict[str, float]) -> tuple[int, str]:
        """One more than is ready, or as many as are starting already."""
        ready, goal = len(signals.ready), self.limits.ttft_s
        one_more = ready + max(1, signals.starting)
        if inputs["kv_use"] >= KV_FULL:
            return one_more, f"a key/value cache is {inputs['kv_use']:.0%} full"
        if goal is not None and inputs["ttft_p95_s"] > goal:
            load = signals.tokens_in_flight / (inputs["capacity"] * ready) if inputs["capacity"] * ready else 1.0
            if signals.waiting and load > LOADED:
                return one_more, f"TTFT p95 {inputs['ttft_p95_s']:.2f} s is above {goal:g} s"
        return 0, ""
