from __future__ import annotations

from tests.planner.migration.test_rules import rows
from tradewind.planner.migration.tasks import ALWAYS, tasks_for


def test_every_task_waits_for_topics_that_there_are_and_stands_after_what_it_needs() -> None:
    topics, names = {row["topic"] for row in rows("rules.csv")}, list[str]()
    for row in rows("tasks.csv"):
        assert set(row["when"].split()) <= topics | {ALWAYS}
        assert set(row["needs"].split()) <= set(names)
        names.append(row["name"])


def test_tasks_are_those_of_what_differs() -> None:
    assert [task.name for task in tasks_for(())] == ["smoke-test"]
    assert {task.name for task in tasks_for({"runtime"})} == {"kernels", "validation", "smoke-test"}
    assert {task.name for task in tasks_for({"spot_notice"})} == {"spot", "smoke-test"}


def test_transfer_is_a_wait_in_which_nobody_works() -> None:
    (move,) = (task for task in tasks_for({"data"}, transfer_days=10) if task.name == "data")
    assert (move.wait.low, move.wait.likely, move.wait.high) == (10, 12, 30)
    (quick,) = (task for task in tasks_for({"data"}) if task.name == "data")
    assert quick.wait.high == 0
