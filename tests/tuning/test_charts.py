from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tuning.sweeps import standing, start
from tradewind.records.sweep import TrialReport, TrialStart
from tradewind.tuning import charts
from tradewind.tuning.standing import Standing, standing_of

PICTURES = [charts.parallel_coordinates, charts.learning_curves, charts.cost_chart, charts.best_so_far]


def one(*objectives: float) -> Standing:
    told = [
        TrialReport(number=0, step=20 * at, objective=value, machine_s=at) for at, value in enumerate(objectives, 1)
    ]
    return standing_of(start(), [TrialStart(number=0, values={"model.layers": 3}, run="r"), *told])


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.__name__)
@pytest.mark.parametrize("found", [standing(), standing(goal="maximize"), one(3.0), one(3.0, 3.0), one(3.0, math.nan)])
def test_picture_is_one_svg_with_a_title_in_words(picture: object, found: Standing) -> None:
    assert callable(picture)
    svg = picture(found)
    assert svg.startswith("<svg")
    assert svg.rstrip().endswith("</svg>")
    assert re.search(r"<title>[A-Z][a-z]", svg)
    assert "nan" not in svg.lower().replace("dominant-baseline", "")


def test_parallel_coordinates_name_every_parameter_and_the_objective() -> None:
    svg = charts.parallel_coordinates(standing())
    for name in ("learning rate", "kind", "weight decay", "layers", "betas", "held-out loss", "absent", "muon"):
        assert f">{name}<" in svg


def test_importance_has_a_bar_for_each_parameter() -> None:
    svg = charts.importance_chart({"optimizer.learning_rate": 0.75, "model.layers": 0.25})
    assert "Importance, learning rate 75%, layers 25%" in svg


def test_best_so_far_is_in_dollars_where_something_was_paid_and_else_in_time() -> None:
    assert "dollars of the sweep" in charts.best_so_far(standing())
    assert "machine time of the sweep" in charts.best_so_far(one(3.0, 2.0))


def test_budget_is_drawn_when_it_is_in_sight() -> None:
    found = standing()
    near = replace(found, spec=found.spec.with_values(budget_usd=found.usd * 1.5))
    assert "budget $" in charts.best_so_far(near)
    assert "budget $" not in charts.best_so_far(found)


def test_best_so_far_only_gets_better_and_counts_all_trials() -> None:
    steps = charts.anytime(standing())
    assert [value for _, value in steps] == sorted((value for _, value in steps), reverse=True)
    assert [cost for cost, _ in steps] == sorted(cost for cost, _ in steps)
    assert steps[-1][0] == pytest.approx(standing().usd, rel=0.02)


@given(
    points=st.lists(st.tuples(st.floats(0, 100), st.floats(-10, 10)), min_size=1, max_size=40), minimize=st.booleans()
)
def test_front_holds_what_no_other_beats(points: list[tuple[float, float]], minimize: bool) -> None:
    sign = 1 if minimize else -1
    front = charts._front(points, minimize=minimize)
    assert set(front) <= set(points)
    for cost, value in points:
        assert any(other <= cost and sign * best <= sign * value for other, best in front)
    assert all(a[0] < b[0] and sign * a[1] > sign * b[1] for a, b in itertools.pairwise(front))
