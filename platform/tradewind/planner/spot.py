"""What interruptions cost: how often machines are taken away, how much time that loses, and when spot still pays.

Machines are taken independently here, so that a run on n of them stops n times as often as one. That is cautious: of
the 16 machines of the traces named below, 7 to 10 went at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tradewind.catalog import Market

Number = TypeVar("Number", float, NDArray[np.float64])
"""One offer, or one number for each of many."""

PRICE_CAP = 0.8
"""Highest spot price that is worth the trouble, as a share of the price on demand."""


@dataclass(frozen=True)
class Prior:
    """What is believed before anything was seen: as if `interruptions` had come in `machine_hours`."""

    interruptions: float
    machine_hours: float
    source: str


SPOT = Prior(
    interruptions=2.0,
    machine_hours=8.7,
    source="traces of Wu et al., Can't Be Late, NSDI 2024 (skypilot-org/spot-traces @221da1a): 802 interruptions in"
    " 3497 machine-hours of AWS spot machines with V100, April and August 2023; the gamma distribution has the mean and"
    " the variance of their seven zones, which saw 0.06 to 0.74 an hour",
)
STEADY = Prior(
    interruptions=1.0,
    machine_hours=6337.0,
    source="Llama 3, arXiv 2407.21783, section 3.3.4: 419 unexpected interruptions in 54 days of 2048 machines with 8"
    " H100, weighted as one interruption",
)
PRIORS: Mapping[Market, Prior] = {"spot": SPOT, "on_demand": STEADY, "reserved": STEADY, "owned": STEADY}
"""Machines that nobody takes away still break."""


@dataclass(frozen=True)
class Hazard:
    """Interruptions of one machine in an hour: a gamma prior, updated by `interruptions` seen in `machine_hours`.

    With a gamma prior, the rate of a Poisson process has a gamma posterior, whose parameters are the sums (Gelman et
    al., Bayesian Data Analysis, 3rd edition, section 2.6).
    """

    interruptions: float = 0.0
    machine_hours: float = 0.0
    prior: Prior = SPOT

    @property
    def mean_per_hour(self) -> float:
        return self._shape / (self.prior.machine_hours + self.machine_hours)

    def interval(self, share: float) -> tuple[float, float]:
        """Bounds that the hazard lies between with a probability of `share`, both tails being equal.

        By the cube root of Wilson and Hilferty (PNAS 17, 1931): within 3 % of the exact quantiles from two
        interruptions on.
        """
        tail = (1 - share) / 2
        return self._quantile(tail), self._quantile(1 - tail)

    @property
    def _shape(self) -> float:
        return self.prior.interruptions + self.interruptions

    def _quantile(self, share: float) -> float:
        ninth = 1 / (9 * self._shape)
        root = 1 - ninth + NormalDist().inv_cdf(share) * math.sqrt(ninth)
        return self.mean_per_hour * max(0.0, root) ** 3


def rework_share(
    hazard_per_hour: Number, machines: Number | float, checkpoint_s: Number | float, restart_s: Number | float
) -> Number:
    """Time lost to interruptions, as a share of the work: it is done again, and all machines wait for the start.

    Each interruption loses half of `checkpoint_s`, the time between checkpoints, and `restart_s`. Of all time that is
    x = hazard · machines · (checkpoint / 2 + restart), and of the work x / (1 − x): infinite from x = 1 on, where a run
    never ends.
    """
    lost = np.asarray(hazard_per_hour * machines * (checkpoint_s / 2 + restart_s) / 3600)
    share: Number = np.divide(lost, 1 - lost, out=np.full_like(lost, np.inf), where=lost < 1)[()]
    return share


def checkpoint_interval_s(hazard_per_hour: Number, machines: Number | float, write_s: float) -> Number:
    """The time between checkpoints that loses least, where each stops the work for `write_s`.

    √(2 · write · mean time between interruptions): Young, CACM 17, 1974; Daly, FGCS 22, 2006.
    """
    interval_s: Number = (2 * write_s * 3600 / (hazard_per_hour * machines)) ** 0.5
    return interval_s


def effective_usd_per_hour(spot_usd: Number, rework: Number | float, restart: Number | float = 0.0) -> Number:
    """What an hour of work costs in the end, with the shares that are lost. `rework_share` has both in one."""
    usd: Number = spot_usd * (1 + rework + restart)
    return usd


def spot_pays(
    spot_usd: Number, on_demand_usd: Number | float, rework: Number | float, *, cap: float = PRICE_CAP
) -> NDArray[np.bool_]:
    """Whether the spot market is cheaper in the end, at a price of at most `cap` of that on demand."""
    cheaper = np.less(effective_usd_per_hour(spot_usd, rework), on_demand_usd)
    pays: NDArray[np.bool_] = np.logical_and(cheaper, np.less_equal(spot_usd, cap * on_demand_usd))
    return pays
