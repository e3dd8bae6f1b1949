"""Engines that are known by a law, as points without a measurement."""

from __future__ import annotations

from collections.abc import Callable

from tradewind.records import ServingFigures
from tradewind.serving.trials.goals import Point
from tradewind.serving.trials.setting import Setting

Law = Callable[[int], float]
"""Seconds between tokens by requests at once."""


def linear(once_s: float, each_s: float) -> Law:
    """Each request at once makes the step longer: throughput bends slowly towards 1 / each_s."""
    return lambda number: once_s + each_s * number


def roofline(once_s: float, each_s: float) -> Law:
    """A step costs the same until the chip is full, and then what its requests cost: throughput has a corner."""
    return lambda number: max(once_s, each_s * number)


def figures(itl_s: float, tokens_per_s: float, ttft_s: float) -> ServingFigures:
    return ServingFigures(
        answers=10, requests_per_s=1.0, tokens_per_s=tokens_per_s, ttft_p50_s=ttft_s / 2, ttft_p95_s=ttft_s,
        itl_p50_s=itl_s, itl_p95_s=itl_s, answer_p50_s=1.0, answer_p95_s=2.0,
    )  # fmt: skip


def point(setting: Setting, law: Law, *, clients: int, noise: float = 1.0) -> Point:
    """What `clients` in a closed loop see of a law; a first token waits for a slot as Little's law says."""
    number = setting.in_effect(clients)
    rate = number / law(number) * noise
    return Point(setting, figures(law(number), rate, law(number) + (clients - number) * 10 / rate))
