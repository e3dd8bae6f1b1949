"""Learning rates over a run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.specs import OptimizerSpec
from tradewind.training.schedule import SCHEDULES, learning_rate

HIGHEST = 0.01


def rate(schedule: str, *, step: int, done: float, warmup: int = 4) -> float:
    spec = OptimizerSpec.model_validate({"schedule": schedule, "learning_rate": HIGHEST, "warmup_steps": warmup})
    return learning_rate(spec, step=step, done=done)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rate_rises_to_its_highest_in_the_warm_up(schedule: str) -> None:
    rates = [rate(schedule, step=step, done=0.0) for step in range(1, 6)]
    assert rates == pytest.approx([HIGHEST / 4, HIGHEST / 2, HIGHEST * 3 / 4, HIGHEST, HIGHEST])


@pytest.mark.parametrize(
    ("schedule", "half", "end"),
    [("linear", 0.5, 0.0), ("cosine", 0.55, 0.1), ("wsd", 1.0, 0.0), ("constant", 1.0, 1.0)],
)
def test_each_schedule_has_its_middle_and_its_end(schedule: str, half: float, end: float) -> None:
    assert rate(schedule, step=9, done=0.5) == pytest.approx(half * HIGHEST)
    assert rate(schedule, step=9, done=1.0) == pytest.approx(end * HIGHEST, abs=1e-12)


def test_wsd_falls_in_the_last_fifth_alone() -> None:
    assert rate("wsd", step=9, done=0.8) == pytest.approx(HIGHEST)
    assert rate("wsd", step=9, done=0.85) == pytest.approx(HIGHEST / 2)


@given(st.sampled_from(sorted(SCHEDULES)), st.floats(0, 1), st.floats(0, 1))
def test_no_schedule_rises_after_the_warm_up(schedule: str, one: float, other: float) -> None:
    earlier, later = sorted((one, other))
    assert rate(schedule, step=9, done=later) <= rate(schedule, step=9, done=earlier) + 1e-12
