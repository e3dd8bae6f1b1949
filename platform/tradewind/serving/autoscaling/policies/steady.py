"""From what is needed now to what is asked for: patience on the way down, no way back inside the cool-down."""

from __future__ import annotations

import math
from collections import deque

from tradewind.serving.autoscaling.limits import Limits

REGRET_AFTER = 2.0
"""Times `down_after_s`: what is needed again this soon after it was given up was given up too early."""
MORE = 1.5
MOST_PATIENCE = 2.0
"""Patience grows and falls by `MORE`, from 1 to this."""


class Steady:
    """Asks for more as soon as `up_after_s` allows, and for no less than was needed at any time of `down_after_s`.

    That time grows up to twofold while demand comes in bursts, where replicas that went are soon needed again.

    Inside the cool-down after a change there is none in the other direction. Two things are exempt: a number outside
    the bounds, and the first replica for a request that waits at an endpoint of none.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._needs: deque[tuple[float, int]] = deque()
        """Times and needs of the window, falling from the left, so that the first is the largest."""
        self._began_s = math.inf
        self._busy_s = -math.inf
        self._above_since_s: float | None = None
        self._last_up_s = self._last_down_s = -math.inf
        self._patience = 1.0

    def settle(self, time_s: float, current: int, need: int, keep: int | None = None) -> tuple[int, str]:
        """The number to ask for, and why it is not `need` where it is not."""
        target, why = self._settle(time_s, current, need, max(need, keep or 0))
        if target > current:
            self._learn_patience(time_s)
            self._last_up_s = time_s
        elif target < current:
            self._last_down_s = time_s
        return target, why

    def _settle(self, time_s: float, current: int, need: int, keep: int) -> tuple[int, str]:
        self._remember(time_s, keep)
        inside = self.limits.within(current)
        if inside != current:
            return inside, f"{current} is outside {self.limits.min} to {self.limits.max}"
        wanted = self.limits.within(need)
        if wanted > current:
            return self._up(time_s, current, wanted)
        self._above_since_s = None
        return self._down(time_s, current)

    def _remember(self, time_s: float, need: int) -> None:
        if need > 0 or self._began_s == math.inf:
            self._busy_s = time_s
        self._began_s = min(self._began_s, time_s)
        while self._needs and self._needs[-1][1] <= need:
            self._needs.pop()
        self._needs.append((time_s, need))
        while self._needs[0][0] < time_s - self._down_after_s:
            self._needs.popleft()

    @property
    def _down_after_s(self) -> float:
        return self._patience * self.limits.down_after_s

    def _learn_patience(self, time_s: float) -> None:
        regretted = time_s - self._last_down_s < REGRET_AFTER * self._down_after_s
        self._patience = min(MOST_PATIENCE, self._patience * MORE) if regretted else max(1.0, self._patience / MORE)

    def _up(self, time_s: float, current: int, wanted: int) -> tuple[int, str]:
        if current == 0:
            return wanted, "a request wakes the endpoint"
        if self._above_since_s is None:
            self._above_since_s = time_s
        if time_s - self._above_since_s < self.limits.up_after_s:
            return current, f"{wanted} is not needed for {self.limits.up_after_s:g} s yet"
        if time_s - self._last_down_s < self.limits.cool_down_s:
            return current, f"{wanted} waits for the cool-down"
        return wanted, ""

    def _down(self, time_s: float, current: int) -> tuple[int, str]:
        most = self.limits.within(self._needs[0][1])
        if most == 0 and (current > 1 or time_s - self._busy_s < self.limits.idle_to_zero_s):
            most = 1
        if most >= current:
            return current, ""
        if time_s - self._began_s < self._down_after_s:
            return current, "too little was seen to ask for less"
        if time_s - self._last_up_s < self.limits.cool_down_s:
            return current, f"{most} waits for the cool-down"
        return most, ""
