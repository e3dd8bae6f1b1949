"""Which tier of storage a dataset version belongs in. This module decides; `moves` acts.

**The cost policy** takes the tier in which the next `HORIZON_DAYS` are expected to cost least, per object:

    cost(i → j) = [i ≠ j] · (rᵢ · B + fee(i, d))           leaving: the object is read once, and leaves too early
                + sⱼ · max(B, mⱼ) · H / M                  storage
                + h · H · rⱼ · B                           reading
                + fee(j, H + [i = j] · d)                  leaving at the horizon, if that is too early
    fee(i, d)   = sᵢ · max(B, mᵢ) · max(0, Dᵢ − d) / M

with B the size in GB, s and r the prices of storage (a GB and month) and retrieval (a GB), D and m the least days and
the least size that are billed (`catalog/storage_price.py`, each with its source), d the days in tier i so
far, h the accesses a day (`heat`), H the horizon in days and M = 365/12 days. Leaving the fees and small objects aside,
two tiers cost the same at

    h* = (s₁ − s₂) / (M · (r₂ − r₁))          accesses a day: the break-even

which follows from s₁/M + h·r₁ = s₂/M + h·r₂; it is the rent-or-buy balance of ski rental (Karlin, Manasse, Rudolph,
Sleator: Competitive snoopy caching, 1988) with storage for rent and retrieval for buying. Where a price is unknown,
nothing is moved, because no cost can be compared. Requests are not in it: no source for their prices. And nothing is
moved for less than `LEAST_SAVED` of the cost.

**The days policy** is the rule that everybody knows: what was not accessed for so many days goes to the archive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tradewind.datasets.tiers.heat import DAY, DAYS_PER_MONTH, heat
from tradewind.errors import SpecError
from tradewind.storage.classes.table import GB, TIERS, StorageClass, Tier

HORIZON_DAYS = 90.0
"""How far the cost policy looks: as long as the cold tiers bill an object at least."""

LEAST_SAVED = 0.2
"""An object moves when at least a fifth of its cost is expected to be saved. Without this, what is read by chance once
in 20 days costs 1.7 times the optimum instead of 1.1 (`tests/datasets/traces.py`), because it goes to and fro."""

AFTER_DAYS = 30.0


@dataclass(frozen=True)
class Situation:
    """An object and the version that it is judged by. `accesses` are oldest first, the making of it included."""

    classes: Mapping[Tier, StorageClass]
    num_bytes: int
    tier: Tier
    days_in_tier: float
    accesses: tuple[datetime, ...]
    at: datetime


@dataclass(frozen=True)
class Decision:
    tier: Tier
    reason: str


class Policy(Protocol):
    @property
    def name(self) -> str:
        """The rule in a few words."""

    def decide(self, situation: Situation) -> Decision:
        """The tier that an object belongs in, which is the one it is in where nothing else is known to be better."""


@dataclass(frozen=True)
class CostPolicy:
    """The cheapest tier, none colder than `coldest`: archived data is hours away, and no price says what that costs."""

    coldest: Tier = "cold"
    horizon_days: float = HORIZON_DAYS

    @property
    def name(self) -> str:
        return f"cost, none colder than {self.coldest}"

    def decide(self, situation: Situation) -> Decision:
        allowed = {*TIERS[: TIERS.index(self.coldest) + 1], situation.tier}
        rate = heat(situation.accesses, situation.at)
        costs = {
            tier: expected_usd(situation, tier, rate=rate, days=self.horizon_days)
            for tier in situation.classes
            if tier in allowed
        }
        now = costs[situation.tier]
        known = {tier: usd for tier, usd in costs.items() if usd is not None}
        if now is None or len(known) < 2:
            return Decision(situation.tier, "prices are unknown")
        best = min(known, key=lambda tier: (known[tier], TIERS.index(tier)))
        if best == situation.tier:
            return Decision(best, f"{_per_month(rate)}: cheapest as it is")
        if known[best] > (1 - LEAST_SAVED) * now:
            return Decision(situation.tier, f"{_per_month(rate)}: {best} would save less than {LEAST_SAVED:.0%}")
        return Decision(best, f"{_per_month(rate)}; {_break_even(situation.classes, situation.tier, best)}")


@dataclass(frozen=True)
class DaysPolicy:
    """`after_days: 30 → archive`, counted from the last access."""

    after_days: float = AFTER_DAYS
    coldest: Tier = "archive"

    @property
    def name(self) -> str:
        return f"after {self.after_days:g} days → {self.coldest}"

    def __post_init__(self) -> None:
        if not self.after_days >= 0:
            raise SpecError(f"{self.after_days} is no number of days", hint="use 0 or more")

    def decide(self, situation: Situation) -> Decision:
        last = max(situation.accesses, default=None)
        if last is None:
            return Decision(situation.tier, "no access is known")
        idle = (situation.at - last) / DAY
        rule = f"not accessed for {idle:.0f} days"
        if idle < self.after_days or TIERS.index(self.coldest) <= TIERS.index(situation.tier):
            return Decision(situation.tier, rule)
        return Decision(self.coldest, rule)


def expected_usd(situation: Situation, then: Tier, *, rate: float, days: float) -> float | None:
    """What an object is expected to cost in a tier over so many days, moving included. None with an unknown price."""
    target = situation.classes[then]
    stays = situation.tier == then
    reading = _read_usd(target, situation.num_bytes)
    parts = [
        0.0 if stays else moving_usd(situation),
        _month_usd(target, situation.num_bytes, days),
        None if reading is None else rate * days * reading,
        fee_usd(target, situation.num_bytes, days + (situation.days_in_tier if stays else 0.0)),
    ]
    return _sum(parts)


def moving_usd(situation: Situation) -> float | None:
    """What it costs to take an object out of the tier that it is in: reading it, and the rest of the least days."""
    now = situation.classes[situation.tier]
    return _sum([_read_usd(now, situation.num_bytes), fee_usd(now, situation.num_bytes, situation.days_in_tier)])


def fee_usd(one: StorageClass, num_bytes: int, days: float) -> float | None:
    """What is billed for leaving a class after so many days."""
    missing = max(0.0, one.minimum_days - days)
    return _month_usd(one, num_bytes, missing) if missing else 0.0


def saving_usd(situation: Situation, then: Tier, *, rate: float) -> float | None:
    """What a month costs less in another tier, storage and expected reading. None where a price of them is unknown."""
    now, target = situation.classes[situation.tier], situation.classes[then]
    costs = []
    for one in (now, target):
        reading = _read_usd(one, situation.num_bytes)
        costs += [_month_usd(one, situation.num_bytes, DAYS_PER_MONTH)]
        costs += [None if reading is None else rate * DAYS_PER_MONTH * reading]
    before, after = _sum(costs[:2]), _sum(costs[2:])
    return None if before is None or after is None else before - after


def reading_usd(situation: Situation, tier: Tier) -> float | None:
    """What it costs to read the object once in a tier."""
    return _read_usd(situation.classes[tier], situation.num_bytes)


def break_even(hotter: StorageClass, colder: StorageClass) -> float | None:
    """The accesses a day at which two tiers cost the same. None when a price is unknown, or none is dearer to read."""
    prices = (
        hotter.usd_per_gb_month, colder.usd_per_gb_month, hotter.retrieval_usd_per_gb, colder.retrieval_usd_per_gb
    )  # fmt: skip
    if None in prices:
        return None
    storage, colder_storage, reading, colder_reading = (price or 0.0 for price in prices)
    dearer = colder_reading - reading
    return (storage - colder_storage) / (DAYS_PER_MONTH * dearer) if dearer > 0 else None


def _read_usd(one: StorageClass, num_bytes: int) -> float | None:
    return None if one.retrieval_usd_per_gb is None else one.retrieval_usd_per_gb * num_bytes / GB


def _month_usd(one: StorageClass, num_bytes: int, days: float) -> float | None:
    billed = max(num_bytes, one.minimum_bytes) / GB
    return None if one.usd_per_gb_month is None else one.usd_per_gb_month * billed * days / DAYS_PER_MONTH


def _sum(parts: list[float | None]) -> float | None:
    return None if None in parts else sum(part or 0.0 for part in parts)


def _per_month(rate: float) -> str:
    accesses = rate * DAYS_PER_MONTH
    return f"{accesses:.2g} accesses a month" if accesses >= 0.01 else "hardly any access"


def _break_even(classes: Mapping[Tier, StorageClass], one: Tier, other: Tier) -> str:
    hotter, colder = sorted((one, other), key=TIERS.index)
    rate = break_even(classes[hotter], classes[colder])
    return f"{hotter} and {colder} even at {rate * DAYS_PER_MONTH:.2g}" if rate is not None else "cheaper to keep"
