from __future__ import annotations

from pathlib import Path

import pytest

from tests.planner.offers import offer
from tests.planner.test_plan import WORK
from tradewind.errors import NotFoundError, SpecError
from tradewind.planner import Plans, make_plan
from tradewind.planner.choice.question import Question
from tradewind.records import PlanRecord
from tradewind.specs import TrainSpec
from tradewind.storage import open_store

SPEC = TrainSpec.of(name="pilot", dataset="logbook")


@pytest.fixture
def plans(tmp_path: Path) -> Plans:
    return Plans(open_store(str(tmp_path)))


@pytest.fixture
def record(plans: Plans) -> PlanRecord:
    return plans.write(SPEC, make_plan(Question(WORK), [offer(40.0), offer(15.0, market="spot")]))


def test_plan_reads_back_with_its_candidates_in_order(plans: Plans, record: PlanRecord) -> None:
    assert plans.get(record.plan) == plans.get("last") == record
    assert record.placements[0].market == "spot"
    assert record.num_candidates >= len(record.placements)


def test_placement_is_named_by_plan_and_number(plans: Plans, record: PlanRecord) -> None:
    assert plans.placement(record.plan) == (record.placements[0], record)
    assert plans.placement(f"{record.plan}#2")[0] == record.placements[1]
    assert plans.placement("last#1")[0] == record.placements[0]


@pytest.mark.parametrize("number", ["0", "9999", "two", "-1", ""])
def test_number_that_a_plan_does_not_have_is_refused(plans: Plans, record: PlanRecord, number: str) -> None:
    with pytest.raises(SpecError, match="is no placement"):
        plans.placement(f"{record.plan}#{number}")


def test_unknown_plan_is_told_with_the_nearest_name(plans: Plans, record: PlanRecord) -> None:
    with pytest.raises(NotFoundError, match=f"did you mean '{record.plan}'"):
        plans.get(record.plan[:-1])


def test_two_plans_of_one_second_have_two_names(plans: Plans) -> None:
    made = make_plan(Question(WORK), [offer(40.0)])
    assert plans.write(SPEC, made).plan != plans.write(SPEC, made).plan
    assert len(plans.names()) == 2
