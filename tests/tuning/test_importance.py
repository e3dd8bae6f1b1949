from __future__ import annotations

import random

import pytest

from tests.tuning.sweeps import standing, start
from tradewind.records.sweep import SweepEvent, TrialReport, TrialStart
from tradewind.tuning.importance import LEAST_TRIALS, importance
from tradewind.tuning.standing import Standing, standing_of


def sweep(matters: str, *, trials: int = 40, goal: str = "minimize") -> Standing:
    dice = random.Random(1)
    told: list[SweepEvent] = []
    for number in range(trials):
        values = {
            "optimizer.learning_rate": 10 ** dice.uniform(-4, -1),
            "model.layers": dice.randint(2, 6),
            "optimizer.betas": dice.choice([[0.9, 0.95], [0.9, 0.99]]),
        }
        objective = float(values[matters]) if matters else 1.0  # type: ignore[arg-type]
        told += [
            TrialStart(number=number, values=values, run=f"r-{number}"),
            TrialReport(number=number, step=20, objective=objective),
        ]
    return standing_of(start(goal=goal), told)


@pytest.mark.parametrize("matters", ["optimizer.learning_rate", "model.layers"])
@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_parameter_that_decides_comes_first(matters: str, goal: str) -> None:
    found = importance(sweep(matters, goal=goal))
    assert next(iter(found)) == matters
    assert sum(found.values()) == pytest.approx(1.0)
    assert set(found) == {"optimizer.learning_rate", "model.layers", "optimizer.betas"}


def test_conditional_parameters_have_a_share_too() -> None:
    assert set(importance(standing())) == set(standing().spec.space)


def test_nothing_is_said_of_few_trials_or_of_trials_that_are_alike() -> None:
    assert importance(sweep("model.layers", trials=LEAST_TRIALS - 1)) == {}
    assert importance(sweep("")) == {}
