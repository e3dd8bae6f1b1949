"""Placements in words, for tables of the terminal, of pages and of notebooks alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from tradewind.records import Interval, Placement
from tradewind.units import format_usd


def place_words(one: Placement) -> str:
    """`aws/us-east-1a`."""
    return "/".join(part for part in (one.cloud, one.zone or one.region) if part)


def machines_words(one: Placement) -> str:
    """`4 x p5.48xlarge`."""
    return f"{one.machines} x {one.instance}"


def chips_words(one: Placement) -> str:
    """`32 H100-SXM`, or `processors`."""
    return f"{one.chips} {one.chip}" if one.chip else "processors"


def layout_words(one: Placement) -> str:
    """`shard 8 x tensor 2, recompute full`, or `whole`; of an endpoint with the number of replicas."""
    split = " x ".join(f"{name} {size}" for name, size in one.layout.items()) or "whole"
    split = f"{one.replicas} replicas, {split}" if one.replicas else split
    return split if one.recompute == "none" else f"{split}, recompute {one.recompute}"


def range_words(interval: Interval, words: Callable[[float], str]) -> str:
    """`20 h (17 h – 24 h)`; one figure where nothing is uncertain."""
    value = words(interval.value)
    return value if interval.low == interval.high else f"{value} ({bounds_words(interval, words)})"


def bounds_words(interval: Interval, words: Callable[[float], str]) -> str:
    """`17 h – 24 h`."""
    return f"{words(interval.low)} – {words(interval.high)}"


def carbon_words(one: Placement) -> str:
    """In kg of carbon dioxide equivalents; `–` where power or grid are not known."""
    return "–" if one.carbon_kg is None else f"{one.carbon_kg:.3g}"


def dollar_words(one: Placement) -> str:
    """With `*` where the price is old."""
    return format_usd(one.cost_usd.value) + ("*" if one.price_is_old else "")


def alike(placements: Iterable[Placement]) -> list[tuple[Placement, int]]:
    """The placements without those that differ from an earlier one in their place alone, and how many those are."""
    first: dict[tuple[object, ...], Placement] = {}
    counts: Counter[tuple[object, ...]] = Counter()
    for one in placements:
        machine = one.chip or one.instance
        key = (one.cloud, machine, one.chips, one.machines, one.market, one.replicas, f"{one.cost_usd.value:.3g}")
        first.setdefault(key, one)
        counts[key] += 1
    return [(one, counts[key] - 1) for key, one in first.items()]
