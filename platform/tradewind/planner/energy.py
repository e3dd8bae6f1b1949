"""How much power a machine draws: its accelerators, its processors and its memory. Estimated from data sheets.

Between doing nothing and full work the power of a chip is a straight line, which is how Cloud Carbon Footprint does it.
Networks and storage outside the machine are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tradewind.catalog import Offer, Region
from tradewind.ledger.meter import BUSY_WATTS_PER_CPU, IDLE_WATTS_PER_CPU, WATTS_PER_GB

Number = TypeVar("Number", float, NDArray[np.float64])
"""One number, or one for each of many cases."""

IDLE_SHARE = 0.175
"""Of thermal design power, what a chip draws that holds a program's memory and does nothing. Measured on an NVIDIA H200
of 700 W, driver 580.159, torch 2.11: 123 W. The same chip drew 692 W, 99 %, in training of blocks 4096 wide in bf16, so
a busy chip draws its thermal design power here; 573 W while it copied memory, 233 W in forward passes of 8 tokens."""

AROUND_SHARE = 0.11
"""Fans, network adapters and losses of power supplies, as a share of the accelerators' power. With it, a machine of 8
H100 draws 7.75 kW in training, as Newkirk et al. 2025 measured (arXiv 2506.14551: 76 % of its rated 10.2 kW)."""

DEFAULT_PUE = 1.56
"""Mean of the industry: Uptime Institute, Global Data Center Survey 2024. Large clouds are at 1.1 to 1.2."""


@dataclass(frozen=True)
class Pue:
    """Energy of a building over that of its machines."""

    value: float
    source: str
    assumed: bool = False
    """Whether the region's own is not known."""


def power_w(offer: Offer, *, busy: Number) -> Number | None:
    """Watts of one machine, of whose time its chips and processors compute the share `busy`; no losses of the building.

    None where a figure is missing: `unknown_power` says which.
    """
    if unknown_power(offer):
        return None
    watts: Number = _idle_w(offer) + busy * (_busy_w(offer) - _idle_w(offer))
    return watts


def unknown_power(offer: Offer) -> str | None:
    """The figure without which nothing can be said about an offer's power, in words; None where all are known."""
    instance, chip = offer.instance, offer.chip
    if instance.chip and chip is None:
        return f"figures of {instance.chip}"
    if instance.vcpus is None:
        return f"number of processors of {instance.name}"
    if instance.memory_bytes is None:
        return f"memory of {instance.name}"
    if chip is None or chip.kind == "cpu":
        return None
    if not instance.chips:
        return f"number of whole {chip.name} of {instance.name}"
    return f"thermal design power of {chip.name}" if chip.power_w is None else None


def energy_kwh(power_w: Number, *, seconds: Number | float) -> Number:
    """Energy of a constant power."""
    kwh: Number = power_w * seconds / 3.6e6
    return kwh


def pue(region: Region) -> Pue:
    """What a region's buildings add; the mean of the industry where that is not known, which is then said."""
    if region.pue is None:
        return Pue(DEFAULT_PUE, "Uptime Institute, Global Data Center Survey 2024", assumed=True)
    return Pue(region.pue, region.pue_source)


def _idle_w(offer: Offer) -> float:
    return _chips_w(offer) * IDLE_SHARE + _processors(offer) * IDLE_WATTS_PER_CPU + _memory_w(offer)


def _busy_w(offer: Offer) -> float:
    return _chips_w(offer) + _processors(offer) * BUSY_WATTS_PER_CPU + _memory_w(offer)


def _chips_w(offer: Offer) -> float:
    """Of accelerators at full work, and what is around them. Processors as a chip are counted as processors."""
    if offer.chip is None or offer.chip.kind == "cpu":
        return 0.0
    return offer.chips * (offer.chip.power_w or 0.0) * (1 + AROUND_SHARE)


def _processors(offer: Offer) -> float:
    return offer.instance.vcpus or 0.0


def _memory_w(offer: Offer) -> float:
    return (offer.instance.memory_bytes or 0) / 1e9 * WATTS_PER_GB
