"""What an endpoint shall keep, and which of the settings that were tried is taken for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tradewind.errors import RunError, SpecError
from tradewind.records import ServingFigures
from tradewind.serving.trials.setting import Setting
from tradewind.specs import ServeSpec
from tradewind.units import format_latency

CLOSE = 0.03
"""Tokens per second that differ by less are the same: two measurements of one setting may differ so much."""


@dataclass(frozen=True)
class Point:
    """A setting and what it was measured to do; no figures where it failed."""

    setting: Setting
    figures: ServingFigures | None = None
    failure: str | None = None
    number: int = 0
    """Of its record."""


@dataclass(frozen=True)
class Goals:
    """Bounds on 95th percentiles, in seconds. Raises SpecError for one that nothing can keep."""

    ttft_s: float | None = None
    itl_s: float | None = None

    def __post_init__(self) -> None:
        for name, bound in (("ttft_s", self.ttft_s), ("itl_s", self.itl_s)):
            if bound is not None and not bound > 0:
                raise SpecError(f"{name} is {bound}", hint="give a time above 0")

    @classmethod
    def of(cls, spec: ServeSpec) -> Goals:
        """What the spec says of its traffic, or else of its scaling."""
        scaled = spec.scaling.ttft_s if spec.scaling else None
        return cls(spec.traffic.ttft_s or scaled, spec.traffic.itl_s)

    def __bool__(self) -> bool:
        return self.ttft_s is not None or self.itl_s is not None

    def excess(self, figures: ServingFigures) -> float:
        """The largest of the measured times over their bounds: at most 1 where all are kept, and 0 without bounds."""
        pairs = ((figures.ttft_p95_s, self.ttft_s), (figures.itl_p95_s, self.itl_s))
        return max((value / bound for value, bound in pairs if bound), default=0.0)

    def misses(self, figures: ServingFigures) -> list[str]:
        """By how much each bound that is not kept is missed, in words."""
        pairs = (("TTFT", figures.ttft_p95_s, self.ttft_s), ("ITL", figures.itl_p95_s, self.itl_s))
        return [
            f"{name} p95 is {format_latency(value)}, {value / bound - 1:.0%} over {format_latency(bound)}"
            for name, value, bound in pairs
            if bound and value > bound
        ]


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other equals or beats in tokens per second, TTFT and ITL together; most tokens first."""
    import numpy as np

    from tradewind.planner.choice.front import pareto_front

    measured = [(one, one.figures) for one in points if one.figures]
    costs = [(-seen.tokens_per_s, seen.ttft_p95_s, seen.itl_p95_s) for _, seen in measured]
    return [measured[int(row)][0] for row in pareto_front(np.array(costs, dtype=float))] if costs else []


def choose(points: Sequence[Point], goals: Goals, *, clients: int) -> Point:
    """The point of the front to take. Raises RunError when every trial failed.

    Without goals it is the knee. With goals, of the points that keep them, the one with the most tokens per second,
    which on one machine is the cheapest; of several close to that, the one that keeps the goals best. Where none keeps
    them, the one that misses them least.
    """
    best = [(one, one.figures) for one in front(points) if one.figures]
    if not best:
        raise RunError(f"no setting could be measured: {points[0].failure if points else 'none was tried'}")
    if not goals:
        return max(best, key=lambda one: power(one[0], clients))[0]
    kept = [(one, seen) for one, seen in best if goals.excess(seen) <= 1]
    if not kept:
        return min(best, key=lambda one: goals.excess(one[1]))[0]
    most = max(seen.tokens_per_s for _, seen in kept)
    close = [(one, seen) for one, seen in kept if seen.tokens_per_s >= (1 - CLOSE) * most]
    return min(close, key=lambda one: goals.excess(one[1]))[0]


def knee(points: Sequence[Point], *, clients: int) -> Point | None:
    """The point after which more requests at once bring less than they cost; None where nothing was measured."""
    return max((one for one in points if one.figures), key=lambda one: power(one, clients), default=None)


def power(point: Point, clients: int) -> float:
    """Throughput over the time in service, which is largest at the knee (Kleinrock 1979, "Power and deterministic rules
    of thumb for probabilistic problems in computer communications", ICC).

    By Little's law the time in service is requests at once over throughput, so power is throughput squared over
    requests at once: beyond the knee, twice as many at once bring less than √2 times the throughput.
    """
    assert point.figures
    return float(point.figures.tokens_per_s**2 / point.setting.in_effect(clients))
