"""A twin of Ray Serve's own policy, to compare with: ongoing requests per replica, averaged, behind two delays.

Follows `replica_queue_length_autoscaling_policy` with `_apply_default_params` of ray/serve/autoscaling_policy.py, and
the mean over `look_back_s` of what is pushed every `push_s` of ray/serve/_private/autoscaling_state.py, in Ray 2.60.
The defaults are Serve's. It knows nothing of tokens, and no cool-down.
"""

from __future__ import annotations

import math
from collections import deque

from tradewind.serving.autoscaling.limits import Limits
from tradewind.serving.autoscaling.signals import Decision, Signals

NEARLY_S = 1e-6
"""Ray's own tolerance in comparisons of elapsed time."""


class ServeDefault:
    def __init__(
        self,
        limits: Limits,
        *,
        target_ongoing: float = 2.0,
        look_back_s: float = 30.0,
        push_s: float = 10.0,
        up_delay_s: float = 30.0,
        down_delay_s: float = 600.0,
        to_zero_delay_s: float | None = None,
        up_factor: float = 1.0,
        down_factor: float = 1.0,
    ) -> None:
        self.limits = limits
        self.target_ongoing = target_ongoing
        self.look_back_s, self.push_s = look_back_s, push_s
        self.up_delay_s, self.down_delay_s = up_delay_s, down_delay_s
        self.to_zero_delay_s = down_delay_s if to_zero_delay_s is None else to_zero_delay_s
        self.up_factor, self.down_factor = up_factor, down_factor
        self._samples: deque[tuple[float, int]] = deque()
        self._pushed_s = float("-inf")
        self._mean = 0.0
        self._direction = 0
        self._since_s: float | None = None

    def decide(self, signals: Signals) -> Decision:
        self._see(signals)
        wanted, why = self.wanted(signals.time_s, len(signals.ready), signals.target, self._mean)
        return Decision(self.limits.within(wanted), why, {"requests": self._mean, "ready": len(signals.ready)})

    def wanted(self, time_s: float, current: int, target: int, requests: float) -> tuple[int, str]:
        """Before the bounds. `current` replicas run, `target` are asked for, `requests` is the mean number ongoing."""
        if current == 0 and requests > 0:
            return max(math.ceil(self.up_factor), target), "a request wakes the endpoint"
        desired = self._scaled(current * requests / (self.target_ongoing * current) if current else target, current)
        if current == 0 and desired > 0:
            return desired, "replicas are starting"
        return self._delayed(time_s, max(0, desired), target), f"{requests:.2f} ongoing requests want {desired}"

    def _see(self, signals: Signals) -> None:
        self._samples.append((signals.time_s, signals.requests))
        while self._samples[0][0] < signals.time_s - self.look_back_s:
            self._samples.popleft()
        if signals.time_s - self._pushed_s >= self.push_s:
            self._pushed_s = signals.time_s
            self._mean = sum(count for _, count in self._samples) / len(self._samples)

    def _scaled(self, desired: float, current: int) -> int:
        if current == 0:
            return math.ceil(desired)
        difference = desired - current
        factor = self.up_factor if difference > 0 else self.down_factor
        scaled = math.ceil(current + factor * difference)
        return scaled - 1 if math.ceil(desired) < current and scaled == current else scaled

    def _delayed(self, time_s: float, desired: int, target: int) -> int:
        if desired == target:
            self._direction, self._since_s = 0, None
            return target
        direction = 1 if desired > target else -1
        if direction != self._direction or self._since_s is None:
            self._direction, self._since_s = direction, time_s
        delay_s = self.up_delay_s
        if direction < 0:
            delay_s = self.to_zero_delay_s if target == 1 else self.down_delay_s
            desired = desired if target == 1 else max(1, desired)
        if time_s - self._since_s + NEARLY_S < delay_s:
            return target
        self._direction, self._since_s = 0, None
        return desired
