"""Work that may stop and go on elsewhere: each hour in the region where it is cheapest, counting what a move costs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import SpecError, did_you_mean
from tradewind.planner.starts import HOUR, Signal

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Route:
    """Where the work is, hour by hour."""

    regions: tuple[str | None, ...]
    """From the earliest hour on; None for an hour of waiting."""
    moves: tuple[tuple[int, str, str], ...]
    """Before which hour, from where, to where."""
    worked: float
    """Sum of the signals over the hours of work."""
    moved: float
    """What all moves cost."""

    @property
    def total(self) -> float:
        return self.worked + self.moved


def follow(
    signals: Mapping[str, Signal],
    transfers: Mapping[tuple[str, str], float],
    *,
    home: str,
    hours: int,
    earliest: datetime,
    deadline: datetime,
    allowed: Collection[str] | None = None,
) -> Route:
    """The cheapest way to work for whole `hours` before the deadline. The data begin at `home`.

    `transfers` has the cost of a move between two regions, in the unit of the signals times an hour; a pair that is not
    in it is never moved between. `allowed` names the regions where the data may be: all when it is None. Found by
    dynamic programming over hours, hours worked and regions, so that no way is cheaper. Raises SpecError when there is
    none.
    """
    slots = max(0, int((deadline - earliest) / HOUR))
    costs = _costs(signals, home, allowed, earliest, slots)
    regions = list(costs)
    move = np.array([[0.0 if a == b else transfers.get((a, b), np.inf) for b in regions] for a in regions])
    best = np.full((hours + 1, len(regions)), np.inf)
    best[0, regions.index(home)] = 0.0
    steps = [best]
    for cost in np.stack(list(costs.values()), axis=1):
        steps.append(_after(steps[-1], cost, move))
    if not 0 < hours <= slots or not np.isfinite(steps[-1][hours].min()):
        raise SpecError(
            f"{hours} h of work from {home} on do not fit into {slots} h in {', '.join(sorted(regions))}",
            hint="set a later deadline, or allow more regions",
        )
    return _route(steps, move, regions, hours)


def _costs(
    signals: Mapping[str, Signal], home: str, allowed: Collection[str] | None, earliest: datetime, slots: int
) -> dict[str, Floats]:
    """Of each hour in each region, the home's first; endless where the data must not be."""
    names = set(signals) if allowed is None else set(allowed)
    for name in sorted(names - signals.keys()):
        raise SpecError(f"no hourly values of region {name!r}{did_you_mean(name, signals)}")
    hours = np.arange(slots, dtype=np.float64)
    hourly = {name: signals[name].mean(signals[name].hours_to(earliest) + hours, 1.0) for name in sorted(names)}
    return {home: np.full(slots, np.inf)} | hourly


def _after(best: Floats, cost: Floats, move: Floats) -> Floats:
    """Least costs by hours worked and region, an hour later: it was waited, or moved at will and worked."""
    later = best.copy()
    moved = (best[:-1, :, None] + move).min(axis=1)
    later[1:] = np.minimum(later[1:], moved + cost)
    return later


def _route(steps: Sequence[Floats], move: Floats, regions: Sequence[str], hours: int) -> Route:
    """Back from the end, by which way each least cost came about. Of equal ways, the one that waits last."""
    done, here = hours, int(steps[-1][hours].argmin())
    places: list[str | None] = []
    moves: list[tuple[int, str, str]] = []
    moved = 0.0
    for slot in range(len(steps) - 2, -1, -1):
        before = steps[slot]
        if before[done, here] == steps[slot + 1][done, here]:
            places.append(None)
            continue
        places.append(regions[here])
        done -= 1
        there = int((before[done] + move[:, here]).argmin())
        if there != here:
            moves.append((slot, regions[there], regions[here]))
            moved += float(move[there, here])
        here = there
    total = float(steps[-1][hours].min())
    return Route(tuple(reversed(places)), tuple(reversed(moves)), worked=total - moved, moved=moved)
