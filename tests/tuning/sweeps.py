"""A sweep that went well enough, for the tests of what is shown of it: pruned, preempted and failed trials too."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from tradewind.records import Machine, ProcessName
from tradewind.records.sweep import (
    SweepEnd,
    SweepEvent,
    SweepGuarded,
    SweepResumed,
    SweepStart,
    TrialEnd,
    TrialFailed,
    TrialPreempted,
    TrialReport,
    TrialStart,
)
from tradewind.specs.tune import TuneSpec
from tradewind.tuning.standing import Standing, standing_of

NOON = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
PROCESS = ProcessName(host="quay", pid=7, started=1.0)
USD_PER_S = 0.34 / 3600
SPEC: dict[str, Any] = {
    "name": "lr-sweep",
    "train": {"name": "pilot", "dataset": "pystdlib", "max_steps": 160, "workers": 1},
    "space": {
        "optimizer.learning_rate": {"log_uniform": [1e-4, 1e-1]},
        "optimizer.kind": {"choice": ["adamw", "muon"]},
        "optimizer.weight_decay": {"uniform": [0.0, 0.3], "when": {"optimizer.kind": "adamw"}},
        "model.layers": {"int": [2, 6]},
        "optimizer.betas": {"choice": [[0.9, 0.95], [0.9, 0.99]]},
    },
    "scheduler": {"kind": "asha", "grace_steps": 20, "reduction": 2},
    "trials": 24,
    "parallel": 4,
    "budget_usd": 0.5,
    "budget_hours": 2,
    "seed": 7,
}


def start(**changes: Any) -> SweepStart:
    return SweepStart(
        created_at=NOON,
        sweep="lr-sweep-20261126-120000",
        spec=TuneSpec.of(**{**SPEC, **changes}).model_dump(mode="json"),
        machine=Machine(host="quay", processor="x", num_cpus=2, memory_bytes=1, usd_per_hour=0.0),
        process=PROCESS,
        versions={"optuna": "5.0.0"},
        estimate_usd=0.02,
    )


class Pen:
    """Writes events, a few seconds apart."""

    def __init__(self) -> None:
        self.events: list[SweepEvent] = []
        self.seconds = 0.0

    def at(self) -> datetime:
        self.seconds += 1.7
        return NOON + timedelta(seconds=self.seconds)

    def write(self, *events: SweepEvent) -> None:
        self.events += [event.model_copy(update={"at": self.at()}) for event in events]


def values(dice: random.Random) -> dict[str, Any]:
    kind = dice.choice(["adamw", "muon"])
    found: dict[str, Any] = {"optimizer.learning_rate": 10 ** dice.uniform(-4, -1), "optimizer.kind": kind}
    if kind == "adamw":
        found["optimizer.weight_decay"] = dice.uniform(0, 0.3)
    return found | {"model.layers": dice.randint(2, 6), "optimizer.betas": dice.choice([[0.9, 0.95], [0.9, 0.99]])}


def loss(chosen: dict[str, Any], step: int) -> float:
    distance: float = (math.log10(chosen["optimizer.learning_rate"]) + 2.3) ** 2
    layers: int = chosen["model.layers"]
    return 3.2 + 0.5 * distance + 0.05 * (6 - layers) + 5 * math.exp(-step / 40)


def events(*, trials: int = 20, ended: bool = False, seed: int = 3) -> list[SweepEvent]:
    """Of twenty trials one fails for good, one is no number, some are preempted, and the last three are running."""
    pen, dice = Pen(), random.Random(seed)
    pen.write(guarded(0.30))
    best: dict[int, list[float]] = {}
    for number in range(trials):
        chosen = values(dice)
        pen.write(TrialStart(number=number, values=chosen, run=f"lr-sweep-20261126-120000-{number}"))
        if number == 5:
            pen.write(*failure(number))
            continue
        running = number >= trials - 3 and not ended
        _train(pen, dice, number, chosen, best, last=40 if running else 160)
        if number == 8:
            pen.write(guarded(0.92, way="pause"), guarded(0.41))
        if number == 12:
            pen.write(SweepResumed(process=PROCESS, spec=start().spec))
    pen.write(SweepGuarded(guard="budget", action="run", message="projected $0.41", numbers={"projected_usd": 0.41}))
    if ended:
        found = standing_of(start(), pen.events)
        assert found.best
        best_loss = found.objective(found.best)
        pen.write(SweepEnd(status="finished", best=found.best.number, objective=best_loss, cost_usd=found.usd))
    return pen.events


def guarded(spot_usd: float, way: str = "spot") -> SweepGuarded:
    numbers = {"spot_usd": spot_usd, "on_demand_usd": 1.0, "cap": 0.8, "effective_usd": spot_usd * 1.11}
    return SweepGuarded(guard="price", action=way, message=f"spot at ${spot_usd}", numbers=numbers)


def failure(number: int) -> list[SweepEvent]:
    log = ("Traceback (most recent call last):", "RuntimeError: <b>no memory</b> left on device")
    return [
        TrialFailed(number=number, message=log[-1], log=log),
        TrialEnd(number=number, status="failed", message="RuntimeError: <b>no memory</b> left on device", log=log),
    ]


def _train(
    pen: Pen, dice: random.Random, number: int, chosen: dict[str, Any], best: dict[int, list[float]], *, last: int
) -> None:
    reached, seconds, status = 0, 0.0, "finished"
    value = math.inf
    for step in range(20, last + 1, 20):
        if number % 6 == 1 and step == 20:
            noticed = number == 7
            reached = 11 if noticed else 13
            pen.write(
                TrialPreempted(
                    number=number, message="node gone", noticed=noticed, step=11 if noticed else 0, reached=reached
                )
            )
        seconds += 20 * dice.uniform(0.4, 0.6)
        value = math.nan if number == 11 else loss(chosen, step) + dice.gauss(0, 0.01)
        pen.write(
            TrialReport(
                number=number, step=step, objective=value, seconds=seconds, machine_s=seconds * 1.2,
                cost_usd=seconds * 1.2 * USD_PER_S,
            )
        )  # fmt: skip
        reached = step
        if math.isnan(value):
            status = "failed"
            break
        if step in (20, 40, 80):
            others = best.setdefault(step, [])
            others.append(value)
            if value > sorted(others)[(len(others) - 1) // 2]:
                status = "pruned"
                break
    if last < 160 and status == "finished":
        return
    pen.write(
        TrialEnd(
            number=number, status=status, objective=None if status == "failed" else value, step=reached,
            cost_usd=seconds * 1.2 * USD_PER_S, machine_s=seconds * 1.2,
            message="heldout_loss is no number at step 20" if status == "failed" else "",
        )
    )  # fmt: skip


def standing(*, ended: bool = False, **changes: Any) -> Standing:
    first = start(**changes)
    told = [
        one.model_copy(update={"spec": first.spec}) if isinstance(one, SweepResumed) else one
        for one in events(ended=ended)
    ]
    return standing_of(first, told)
