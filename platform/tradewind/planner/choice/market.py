"""Offers as columns: one array for each property that costs, energy and risk are reckoned from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tradewind.catalog import Offer
from tradewind.planner.carbon import carbon_g
from tradewind.planner.choice.question import OWN_START_S, START_S, Question
from tradewind.planner.energy import power_w

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """Offers as arrays, all of one length. What is not known is not a number."""

    offers: Sequence[Offer]
    question: Question

    @cached_property
    def usd_per_hour(self) -> Floats:
        return self._each(lambda offer: offer.usd_per_hour)

    @cached_property
    def is_spot(self) -> NDArray[np.bool_]:
        return np.array([offer.market == "spot" for offer in self.offers], dtype=bool)

    @cached_property
    def start_h(self) -> Floats:
        return self._each(lambda offer: (OWN_START_S if offer.market == "owned" else START_S) / 3600)

    @cached_property
    def limit(self) -> Floats:
        """Most machines that can be had."""
        most = float(self.question.limits.max_machines)
        return self._each(lambda offer: most if offer.limit is None else min(most, offer.limit))

    @cached_property
    def effort_days(self) -> Floats:
        return self._each(lambda offer: self.question.effort_days.get(offer.region.cloud, 0.0))

    @cached_property
    def idle_w(self) -> Floats:
        """Power of a machine that does nothing, in watts."""
        return self._each(lambda offer: power_w(offer, busy=0.0))

    @cached_property
    def busy_w(self) -> Floats:
        """What full work adds to it."""
        return self._each(lambda offer: power_w(offer, busy=1.0)) - self.idle_w

    @cached_property
    def carbon_g_per_kwh(self) -> Floats:
        """Of a machine's electricity, with what the building adds."""
        return self._each(lambda offer: carbon_g(1.0, offer))

    def _each(self, figure: Callable[[Offer], float | None]) -> Floats:
        found = (figure(offer) for offer in self.offers)
        return np.array([math.nan if one is None else one for one in found], dtype=float)
