"""Grams of CO2 equivalent: energy of the machines × what the building adds × the grid. Estimated.

Only electricity counts, not the making of machines. Grids are yearly means of their place, not of contracts for power.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tradewind.catalog import Offer
from tradewind.planner.energy import pue

Number = TypeVar("Number", float, NDArray[np.float64])
"""One number, or one for each of many cases."""


def carbon_g(energy_kwh: Number, offer: Offer) -> Number | None:
    """Of energy that the machines of an offer take; None where nobody knows the grid."""
    if offer.region.carbon_g_per_kwh is None:
        return None
    grams: Number = energy_kwh * (pue(offer.region).value * offer.region.carbon_g_per_kwh)
    return grams


def per_million_tokens(amount: Number, tokens: Number | float) -> Number:
    """Joules, grams or dollars of so many tokens, as those of a million."""
    share: Number = amount / (tokens / 1e6)
    return share
