"""Access traces, what a policy pays on them day by day, and what somebody who knew them beforehand would have paid.

The prices and the rules are those of `tiers/policy.py`: a day's reading is charged in the tier of that day, and moves
come at the end of a day.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from tradewind.datasets.tiers.heat import DAYS_PER_MONTH
from tradewind.datasets.tiers.policy import Policy, Situation, fee_usd, moving_usd
from tradewind.storage.classes.table import GB, StorageClass, Tier

DAYS = 730
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

Trace = Sequence[int]
"""Accesses on each day."""


def steady(every: int = 7) -> Trace:
    return [int(day % every == 0) for day in range(DAYS)]


def bursty(days: int = 5, every: int = 40) -> Trace:
    """A run on each of some days, then silence."""
    return [int(day % every < days) for day in range(DAYS)]


def decaying(half_life: float = 30, first: float = 2) -> Trace:
    trace, expected, so_far = [], 0.0, 0
    for day in range(DAYS):
        expected += first * 2 ** (-day / half_life)
        trace.append(int(expected) - so_far)
        so_far = int(expected)
    return trace


def chance(a_day: float, seed: int = 1) -> Trace:
    draw = random.Random(seed)
    return [int(draw.random() < a_day) for _ in range(DAYS)]


THREE = {"steady": steady(), "bursty": bursty(), "decaying": decaying()}

HARD = {
    "bursts of 10 days, 180 apart": bursty(10, 180),
    "60 days busy, 120 quiet": bursty(60, 180),
    "by chance, one in 20 days": chance(0.05),
    "by chance, one in 50 days": chance(0.02),
    "read once": [1] + [0] * (DAYS - 1),
}
"""Where what comes cannot be told from what was, so that whoever has no foresight pays more."""


def online_usd(policy: Policy, trace: Trace, classes: Mapping[Tier, StorageClass]) -> float:
    """What a policy pays for a GB that begins in the hot tier. It sees the past only."""
    days, usd = 0, 0.0
    tier: Tier = "hot"
    accesses = [BEGIN]
    for day, count in enumerate(trace):
        one = classes[tier]
        usd += _day(one) + count * _reading(one)
        days += 1
        accesses += [BEGIN + timedelta(days=day)] * count
        situation = Situation(classes, GB, tier, days, tuple(accesses), BEGIN + timedelta(days=day + 1))
        then = policy.decide(situation).tier
        if then != tier:
            usd += moving_usd(situation) or 0.0
            tier, days = then, 0
    return usd


def offline_usd(trace: Trace, classes: Mapping[Tier, StorageClass]) -> float:
    """The least that can be paid, by dynamic programming over days, tiers and days in the tier."""
    table = list(classes.values())
    most = max(one.minimum_days for one in table) + 1
    ahead = np.zeros((len(table), most + 1))
    stays = np.minimum(np.arange(most + 1) + 1, most)
    fees = np.array([[fee_usd(one, GB, age + 1) or 0.0 for age in range(most + 1)] for one in table])
    for count in reversed(trace):
        enter, before = ahead[:, 0].copy(), np.empty_like(ahead)
        for index, one in enumerate(table):
            leave = min(enter[other] for other in range(len(table)) if other != index)
            best = np.minimum(ahead[index][stays], _reading(one) + fees[index] + leave)
            before[index] = _day(one) + count * _reading(one) + best
        ahead = before
    return float(ahead[0][0])


def _day(one: StorageClass) -> float:
    assert one.usd_per_gb_month is not None
    return one.usd_per_gb_month / DAYS_PER_MONTH


def _reading(one: StorageClass) -> float:
    assert one.retrieval_usd_per_gb is not None
    return one.retrieval_usd_per_gb
