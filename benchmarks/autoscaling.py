"""Autoscaling policies on five shapes of demand: seconds over the goal, and replica-seconds, in the simulator.

    .venv/bin/python benchmarks/autoscaling.py

Compared are the `tokens` policy with several amounts of room and two of patience, the `classic` one, and a twin of Ray
Serve's own: with its defaults, with its defaults and a target that fits the replica, and tuned over a grid, of which
those configurations are shown that no other one beats in both figures. A policy is only better at the same cost, so
that each is set against the `tokens` policy that misses least at no more replica-seconds, over the five shapes
together. Everything is simulated and deterministic; it takes about twelve minutes of one processor. Prints tables, and
as its last line everything as JSON. docs/benchmarks/autoscaling.md has the results.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # this file's folder has modules of names that are not meant

from tradewind.serving.autoscaling import Limits, policy
from tradewind.serving.autoscaling.simulator import World, simulate
from tradewind.serving.autoscaling.traces import Trace, five_shapes

LIMITS = Limits(min=1, max=10, ttft_s=1.0, cold_start_s=10.0)
WORLD = World()
ROOMS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0)
SLOTS = WORLD.pace.slots
GRID = [
    {"target_ongoing": target, "look_back_s": look_back_s, "up_delay_s": up_s, "down_delay_s": down_s, "push_s": 1.0}
    for target, look_back_s, up_s, down_s in itertools.product(
        (0.5 * SLOTS, 0.625 * SLOTS, 0.75 * SLOTS), (5.0, 15.0), (0.0, 5.0), (15.0, 30.0, 60.0)
    )
]
TUNED = "tuned configurations beaten"
LEAN: dict[str, Any] = {"down_after_s": 10.0, "cool_down_s": 10.0}
"""Less patience: cheaper, and more changes."""
LEAN_ROOMS = (0.25, 0.5, 0.75, 1.0, 1.5)


@dataclass(frozen=True)
class Entrant:
    name: str
    policy: str
    settings: dict[str, float] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)


@dataclass
class Result:
    entrant: Entrant
    violation_s: list[float]
    """For each shape, the mean over the seeds."""
    replica_s: list[float]
    changes: float
    reversals: float

    @property
    def totals(self) -> tuple[float, float]:
        return sum(self.violation_s), sum(self.replica_s)


def main() -> None:
    arguments = _arguments()
    rooms = [Entrant(f"tokens, room {room:g}", "tokens", {"room": room}) for room in ROOMS]
    rooms += [Entrant(f"tokens, lean, room {room:g}", "tokens", {"room": room}, LEAN) for room in LEAN_ROOMS]
    grid = [Entrant(f"Serve {_short(settings)}", "serve_default", settings) for settings in GRID]
    named = [
        Entrant("tokens", "tokens"),
        Entrant("Serve's defaults", "serve_default"),
        Entrant("Serve's defaults, target fits", "serve_default", {"target_ongoing": 0.75 * SLOTS}),
        Entrant("classic", "classic"),
    ]
    seeds = range(arguments.seeds)
    with ProcessPoolExecutor(arguments.processes) as pool:
        results = list(pool.map(measure, [*named, *rooms, *grid], itertools.repeat(seeds)))
    tokens, *others = results[: len(named)]
    ours, tuned = results[len(named) : len(named) + len(rooms)], results[len(named) + len(rooms) :]
    _print("Seconds over the goal / replica-seconds", [tokens, *others, *ours])
    best = [one for one in tuned if not any(_dominates(other, one) for other in tuned)]
    pairs = [[other, match] for other in [*others, *best] if (match := _as_cheap(ours, other))]
    _print("\nEach, and the best of `tokens` at no more replica-seconds", [one for pair in pairs for one in pair])
    found = targets(others, ours, tuned)
    beaten = found[TUNED]["value"]
    print(f"\nof {len(tuned)} configurations of Serve's policy, {beaten} miss more and take no fewer replica-seconds")
    print(json.dumps({"targets": found, "policies": [_plain(one) for one in results]}))


def targets(rivals: list[Result], ours: list[Result], tuned: list[Result]) -> dict[str, dict[str, Any]]:
    """For each rival its seconds over the goal are the target, None the value where none of ours is as cheap."""
    found = {f"violation_s beside {rival.entrant.name}": _beside(rival, _as_cheap(ours, rival)) for rival in rivals}
    beaten = sum(any(_dominates(one, other) for one in ours) for other in tuned)
    found[TUNED] = {"value": beaten, "target": len(tuned), "better": "higher"}
    found["reversals within 10 s"] = {"value": max(one.reversals for one in ours), "target": 0, "better": "lower"}
    return found


def measure(entrant: Entrant, seeds: range) -> Result:
    shapes = [[_play(entrant, trace) for trace in five_shapes(seed=seed)] for seed in seeds]
    count, columns = len(shapes), list(zip(*shapes, strict=True))
    return Result(
        entrant,
        [sum(one[0] for one in column) / count for column in columns],
        [sum(one[1] for one in column) / count for column in columns],
        sum(one[2] for column in columns for one in column) / count,
        sum(one[3] for column in columns for one in column) / count,
    )


def _play(entrant: Entrant, trace: Trace) -> tuple[int, float, int, int]:
    limits = replace(LIMITS, **entrant.limits)
    outcome = simulate(trace, policy(entrant.policy, limits, **entrant.settings), WORLD)
    reversals = outcome.reversals(within_s=10.0)
    return outcome.slo_violation_s, outcome.replica_s, len(outcome.changes), reversals


def _as_cheap(ours: list[Result], other: Result) -> Result | None:
    cheap = [one for one in ours if one.totals[1] <= other.totals[1]]
    return min(cheap, key=lambda one: one.totals[0], default=None)


def _beside(rival: Result, match: Result | None) -> dict[str, Any]:
    violation_s, replica_s = match.totals if match else (None, None)
    both = {"tokens": replica_s, rival.entrant.policy: rival.totals[1]}
    return {"value": violation_s, "target": rival.totals[0], "better": "lower", "replica_s": both}


def _dominates(one: Result, other: Result) -> bool:
    return one.totals[0] < other.totals[0] and one.totals[1] <= other.totals[1]


def _short(settings: dict[str, float]) -> str:
    return "target {target_ongoing:g}, {look_back_s:g} s, up {up_delay_s:g} s, down {down_delay_s:g} s".format(
        **settings
    )


def _print(title: str, results: list[Result]) -> None:
    names = [trace.name for trace in five_shapes(duration_s=10)]
    print(f"{title}\n| policy | {' | '.join(names)} | all | changes | reversals within 10 s |")
    print("| --- |" + " --- |" * (len(names) + 3))
    for one in results:
        cells = [f"{seconds:.0f} / {paid:,.0f}" for seconds, paid in zip(one.violation_s, one.replica_s, strict=True)]
        cells.append("{:.0f} / {:,.0f}".format(*one.totals))
        print(f"| {one.entrant.name} | {' | '.join(cells)} | {one.changes:.0f} | {one.reversals:.0f} |")


def _plain(one: Result) -> dict[str, Any]:
    return {
        "policy": one.entrant.policy,
        "settings": one.entrant.settings,
        "limits": one.entrant.limits,
        "violation_s": one.violation_s,
        "replica_s": one.replica_s,
        "changes": one.changes,
        "reversals": one.reversals,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Autoscaling policies on five shapes of demand.")
    parser.add_argument("--seeds", type=int, default=3, help="traces of each shape")
    parser.add_argument("--processes", type=int, default=1, help="simulations at a time")
    return parser.parse_args()


if __name__ == "__main__":
    main()
