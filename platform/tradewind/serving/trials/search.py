"""Which settings are tried, in which order: a deterministic plan, bounded by a number of trials.

1. The spec as it is, so that there is something to compare with.
2. Slots, doubled from 1 to the number of clients: throughput grows with them and each answer slows down, so this is the
   curve that has a knee, and on which goals are met or missed.
3. Each knob of the engine by itself, at the best setting so far, which the better value then belongs to.
4. Slots again, halfway to the neighbours of the best setting, until they are close.

A sampler that learns, such as Optuna's, is not used: it draws its first ten trials at random, and here ten trials have
gone through the whole curve and most knobs. The only long axis is ordered and its shape is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tradewind.serving.trials.goals import Goals, Point, choose
from tradewind.serving.trials.setting import Knobs, Setting

STEP = 1 / 8
"""Slots that differ by less than this share are not told apart."""


def search(
    start: Setting,
    knobs: Knobs,
    goals: Goals,
    *,
    clients: int,
    trials: int,
    measure: Callable[[Setting], Point],
) -> list[Point]:
    """What was tried, in its order. Raises what `measure` raises, which is only for the first to do."""
    plan = _Plan(start, goals, clients, trials, measure)
    plan.slots()
    for name, values in knobs.items():
        plan.knob(name, values)
    plan.halves()
    return plan.points


class _Plan:
    def __init__(
        self,
        start: Setting,
        goals: Goals,
        clients: int,
        trials: int,
        measure: Callable[[Setting], Point],
    ) -> None:
        self._goals = goals
        self._clients = clients
        self._trials = trials
        self._measure = measure
        self.points = [measure(start)]

    @property
    def best(self) -> Setting:
        return choose(self.points, self._goals, clients=self._clients).setting

    def slots(self) -> None:
        start, number = self.points[0].setting, 1
        while number < self._clients:
            self._try(start.with_slots(number))
            number *= 2
        self._try(start.with_slots(self._clients))

    def knob(self, name: str, values: Any) -> None:
        best = self.best
        for value in values:
            self._try(best.with_knob(name, value))

    def halves(self) -> None:
        is_new = True
        while is_new:
            is_new = any(tuple(self._try(setting) for setting in self._between()))

    def _between(self) -> list[Setting]:
        """Halfway between the best setting and the next more and fewer slots that were tried beside it."""
        best = self.best
        at = best.in_effect(self._clients)
        tried = {one.setting.in_effect(self._clients) for one in self.points if one.setting.knobs == best.knobs}
        sides = [min((n for n in tried if n > at), default=at), max((n for n in tried if n < at), default=at)]
        return [best.with_slots((at + side) // 2) for side in sides if abs(side - at) // 2 > STEP * at / 2]

    def _try(self, setting: Setting) -> bool:
        """Measure it, unless that was done, or there have been enough."""
        if len(self.points) >= self._trials or any(self._same(one.setting, setting) for one in self.points):
            return False
        self.points.append(self._measure(setting))
        return True

    def _same(self, one: Setting, other: Setting) -> bool:
        return one.knobs == other.knobs and one.in_effect(self._clients) == other.in_effect(self._clients)
