"""For each offer, the inequality that it is nearest to keeping: the reason why it is not chosen."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tradewind.planner.inequality import Inequality

Numbers = NDArray[np.intp]
Stage = Literal["wanted", "known", "fits", "limits"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""Not excluded by the wish; of known figures; able to do the work; within the limits. In this order."""


class Lacks:
    """Of `count` offers. Arrays, because a plan has thousands of offers with dozens of reasons each.

    What breaks a limit can do the work, so it is nearer than what cannot: of the stages, the last one that an offer
    has reached counts, and within it the inequality with the least excess.
    """

    def __init__(self, count: int) -> None:
        self._stage = np.full(count, -1, dtype=np.intp)
        self._excess = np.full(count, np.inf)
        self._need = np.zeros(count)
        self._have = np.zeros(count)
        self._kind = np.full(count, -1, dtype=np.intp)
        self._kinds: list[tuple[str, str]] = []

    def add(self, offers: Numbers, lack: Inequality, stage: Stage) -> None:
        """All of these offers lack the same."""
        need = np.full(len(offers), lack.need)
        self.add_each(offers, lack.what, need=need, have=lack.have, unit=lack.unit, stage=stage)

    def add_each(
        self, offers: Numbers, what: str, *, need: NDArray[np.float64], have: Any, unit: str, stage: Stage
    ) -> None:
        """Each of these offers would need so much, and has `have`: one number, or one for each."""
        have = np.broadcast_to(np.asarray(have, dtype=float), need.shape)
        excess = np.divide(need, have, out=np.full(need.shape, np.inf), where=have > 0)
        reached = STAGES.index(stage)
        known = self._stage[offers]
        nearer = (known < reached) | ((known == reached) & (excess < self._excess[offers]))
        self._kinds.append((what, unit))
        chosen = offers[nearer]
        self._stage[chosen], self._excess[chosen] = reached, excess[nearer]
        self._need[chosen], self._have[chosen] = need[nearer], have[nearer]
        self._kind[chosen] = len(self._kinds) - 1

    def order(self, offers: Numbers) -> Numbers:
        """The same offers, the nearest first."""
        return offers[np.lexsort((self._excess[offers], -self._stage[offers]))]

    def nearest(self, offer: int) -> Inequality | None:
        if self._kind[offer] < 0:
            return None
        what, unit = self._kinds[self._kind[offer]]
        return Inequality(what, float(self._need[offer]), float(self._have[offer]), unit)
