"""Searchers and schedulers, told events as a driver tells them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.tuning.sea import objective
from tests.tuning.wishes import toy_spec
from tradewind.records import SweepEvent, TrialEnd, TrialReport, TrialStart
from tradewind.specs import TuneSpec
from tradewind.tuning import space
from tradewind.tuning.search import Search

CONDITIONAL: dict[str, Any] = {
    "optimizer.learning_rate": {"log_uniform": [1e-5, 1e-1]},
    "optimizer.schedule": {"choice": ["linear", "constant"]},
    "optimizer.warmup_steps": {"int": [0, 20], "when": {"optimizer.schedule": "linear"}},
}
SEARCHERS = ("tpe", "cmaes", "random", "grid")


def value_of(values: dict[str, Any], step: int) -> float:
    return objective(values["optimizer.learning_rate"], values.get("optimizer.weight_decay", 0.1), step)


def drive(spec: TuneSpec, events: list[SweepEvent], until: int, *, steps: int = 8, seed: int = 0) -> Search:
    """Go on from `events` to `until` trials, two at a time with steps in a random order, adding what happens."""
    search = Search(spec)
    running: dict[int, tuple[dict[str, Any], int]] = {}
    for event in events:
        stop = search.hear(event)
        if isinstance(event, TrialStart):
            running[event.number] = event.values, 0
        elif isinstance(event, TrialReport):
            running[event.number] = running[event.number][0], -1 if stop else event.step
        elif isinstance(event, TrialEnd):
            running.pop(event.number)

    def say(event: SweepEvent) -> bool:
        events.append(event)
        return search.hear(event)

    number = sum(isinstance(event, TrialStart) for event in events)
    draw = random.Random(f"{seed}/{len(events)}")
    while running or number < until:
        if len(running) < 2 and number < until:
            values, parent = search.ask(number)
            say(TrialStart(number=number, values=values, run=f"r{number}", parent=parent))
            running[number] = values, 0
            number += 1
            continue
        chosen = draw.choice(sorted(running))
        values, step = running[chosen]
        if step in (-1, steps):
            running.pop(chosen)
            status: Any = "pruned" if step == -1 else "finished"
            say(TrialEnd(number=chosen, status=status, objective=value_of(values, max(step, 1))))
            continue
        report = TrialReport(number=chosen, step=step + 1, objective=value_of(values, step + 1))
        running[chosen] = values, -1 if say(report) else step + 1
    return search


def starts(events: list[SweepEvent]) -> list[dict[str, Any]]:
    return [event.values for event in events if isinstance(event, TrialStart)]


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_a_search_that_is_told_everything_again_goes_on_as_it_would_have(searcher: str) -> None:
    spec = toy_spec(searcher=searcher, trials=40, startup_trials=5, scheduler="asha")
    events: list[SweepEvent] = []
    whole = drive(spec, events, 24)
    for cut in (7, 31, len(events)):
        again = Search(spec)
        for event in events[:cut]:
            again.hear(event)
        seen = len(starts(events[:cut]))
        if cut < len(events):
            following = next((e for e in events[cut:] if isinstance(e, TrialStart)), None)
            first = next(e for e in events[cut:])
            if following is first:
                assert again.ask(seen)[0] == following.values
        else:
            assert again.ask(seen)[0] == whole.ask(seen)[0]


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_values_are_of_the_space_and_keep_its_conditions(searcher: str) -> None:
    spec = toy_spec(searcher=searcher, trials=40, startup_trials=5, space=CONDITIONAL)
    events: list[SweepEvent] = []
    search = drive(spec, events, min(20, Search(spec).most))
    assert search.most == (30 if searcher == "grid" else 40)
    for values in starts(events):
        assert all(spec.space[key].has(value) for key, value in values.items())
        assert ("optimizer.warmup_steps" in values) == (values["optimizer.schedule"] == "linear")


def test_tpe_finds_better_values_than_chance() -> None:
    def best(searcher: str, seed: int) -> float:
        events: list[SweepEvent] = []
        drive(toy_spec(searcher=searcher, trials=30, startup_trials=6, seed=seed), events, 30, steps=1)
        return min(value_of(values, 1) for values in starts(events))

    assert sum(best("tpe", seed) for seed in range(4)) < sum(best("random", seed) for seed in range(4))


def test_other_values_than_suggested_are_taken_as_they_were() -> None:
    spec = toy_spec(trials=5)
    search = Search(spec)
    values = {"optimizer.learning_rate": 1e-3, "optimizer.weight_decay": 0.25}
    search.hear(TrialStart(number=0, values=values, run="r0"))
    search.hear(TrialReport(number=0, step=1, objective=0.5))
    search.hear(TrialEnd(number=0, status="finished", objective=0.5))
    assert search._study.best_params == space.internal(spec, values)
    assert search.ask(1)[0] != values


def test_asha_stops_all_but_the_best_of_a_rung() -> None:
    spec = toy_spec(searcher="random", trials=8, scheduler={"kind": "asha", "grace_steps": 2, "reduction": 2})
    search = Search(spec)
    stopped = []
    for number in range(6):
        search.hear(TrialStart(number=number, values=search.ask(number)[0], run=""))
        assert not search.hear(TrialReport(number=number, step=1, objective=9.0 - number))
        stopped.append(search.hear(TrialReport(number=number, step=2, objective=float(number))))
    assert stopped == [False, True, True, True, True, True]
    assert not search.hear(TrialReport(number=0, step=2, objective=99.0))  # told again after a loss


def test_the_median_rule_waits_for_others() -> None:
    scheduler = {"kind": "median", "grace_steps": 1, "startup_trials": 2}
    search = Search(toy_spec(searcher="random", trials=8, scheduler=scheduler))
    for number, value in enumerate((1.0, 2.0)):
        search.hear(TrialStart(number=number, values=search.ask(number)[0], run=""))
        assert not search.hear(TrialReport(number=number, step=2, objective=value))
        search.hear(TrialEnd(number=number, status="finished", objective=value))
    search.hear(TrialStart(number=2, values=search.ask(2)[0], run=""))
    assert search.hear(TrialReport(number=2, step=2, objective=3.0))


def test_the_worst_of_a_population_gives_way_to_an_heir_of_the_best() -> None:
    scheduler = {"kind": "pbt", "every_steps": 5, "quantile": 0.25, "factors": [0.5, 2.0]}
    spec = toy_spec(searcher="random", trials=8, scheduler=scheduler)
    search = Search(spec)
    events: list[SweepEvent] = []
    for number in range(4):
        events.append(TrialStart(number=number, values=search.ask(number)[0], run=""))
        search.hear(events[-1])
    gives_way = []
    for number in range(4):
        events.append(TrialReport(number=number, step=5, objective=float(number)))
        gives_way.append(search.hear(events[-1]))
    assert gives_way == [False, False, False, True]
    events.append(TrialEnd(number=3, status="pruned", objective=3.0))
    search.hear(events[-1])
    values, parent = search.ask(4)
    assert parent == 0
    old = events[0].values if isinstance(events[0], TrialStart) else {}
    for key, value in values.items():
        assert spec.space[key].has(value)
        low, high = spec.space[key].ends
        assert value in [min(high, max(low, old[key] * factor)) for factor in (0.5, 2.0)]
    again = Search(spec)
    for event in events:
        again.hear(event)
    assert again.ask(4) == (values, parent)


def test_a_grid_has_each_point_once() -> None:
    spec = toy_spec(searcher="grid", space=CONDITIONAL)
    points = space.grid(spec)
    assert len(points) == 5 * 5 + 5
    assert len({tuple(sorted(point.items())) for point in points}) == len(points)
    rates = sorted({point["optimizer.learning_rate"] for point in points})
    assert rates == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2, 1e-1])
    small = toy_spec(searcher="grid", space={"seed": {"int": [1, 3]}})
    assert sorted(point["seed"] for point in space.grid(small)) == [1, 2, 3]
