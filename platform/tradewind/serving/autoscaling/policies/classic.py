"""Window and thresholds: one more above 80 % mean load of the last ten samples, one less below 30 %, every 30 s.

The rule is a widespread one and is kept to compare with. Three faults that it usually has are mended: an empty window
decides nothing, a replica that is starting counts, and a change empties the window, so that load from before is not
answered again. It knows neither goals nor forecasts.
"""

from __future__ import annotations

from collections import deque

from tradewind.serving.autoscaling.limits import Limits
from tradewind.serving.autoscaling.signals import Decision, Signals

WINDOW = 10
EVERY_S = 30.0
SAMPLE_S = EVERY_S / WINDOW
HIGH, LOW = 0.8, 0.3


class Classic:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._loads: deque[float] = deque(maxlen=WINDOW)
        self._sampled_s = float("-inf")
        self._decided_s: float | None = None
        self._changed_s = {1: float("-inf"), -1: float("-inf")}

    def decide(self, signals: Signals) -> Decision:
        now_s = signals.time_s
        self._sample(signals)
        inside = self.limits.within(signals.target)
        if inside != signals.target:
            return self._change(signals, inside, "outside the bounds")
        if not signals.target and signals.requests:
            return self._change(signals, 1, "a request wakes the endpoint")
        if self._decided_s is None:
            self._decided_s = now_s
        if now_s - self._decided_s < EVERY_S:
            return self._hold(signals, f"decides every {EVERY_S:g} s")
        self._decided_s = now_s
        if not self._loads:
            return self._hold(signals, "no load was seen")
        load = self._mean()
        step = 1 if load > HIGH else -1 if load < LOW else 0
        return self._step(signals, step, f"mean load {load:.2f} of {len(self._loads)} samples")

    def _step(self, signals: Signals, step: int, why: str) -> Decision:
        lowest = max(self.limits.min, 0 if signals.is_idle else 1)
        target = min(self.limits.max, max(lowest, signals.target + step))
        if target == signals.target:
            return self._hold(signals, why)
        if signals.time_s - self._changed_s[-step] < self.limits.cool_down_s:
            return self._hold(signals, f"{why}; {target} waits for the cool-down")
        return self._change(signals, target, why)

    def _sample(self, signals: Signals) -> None:
        if signals.time_s - self._sampled_s < SAMPLE_S:
            return
        there = [one for one in signals.replicas if one.status != "draining"]
        if there:
            self._sampled_s = signals.time_s
            self._loads.append(signals.tokens_in_flight / sum(one.capacity for one in there))

    def _mean(self) -> float:
        return sum(self._loads) / len(self._loads) if self._loads else 0.0

    def _change(self, signals: Signals, target: int, why: str) -> Decision:
        decision = Decision(target, why, self._inputs(signals))
        self._loads.clear()
        self._decided_s = signals.time_s
        self._changed_s[1 if target > signals.target else -1] = signals.time_s
        return decision

    def _hold(self, signals: Signals, why: str) -> Decision:
        return Decision(signals.target, why, self._inputs(signals))

    def _inputs(self, signals: Signals) -> dict[str, float]:
        return {"load": self._mean(), "samples": len(self._loads), "tokens_in_flight": signals.tokens_in_flight}
