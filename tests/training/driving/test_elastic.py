"""How many workers a run gets, and how one that could be larger is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from ray.train.v2._internal.execution.scaling_policy import NoopDecision, ResizeDecision
from ray.train.v2._internal.execution.worker_group import WorkerGroupPollStatus
from ray.train.v2.api.config import ScalingConfig

from tradewind.training.driving import nodes
from tradewind.training.driving.elastic import GentlePolicy

ROOM = {"CPU": 2.0}
NO_NEWS = WorkerGroupPollStatus({})


class Worker:
    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def execute_async(self, work: Callable[..., Any], *arguments: Any) -> None:
        self.heard.append((work.__name__, *arguments))


class Group:
    """What the policy looks at of Ray Train's state of a group."""

    def __init__(self, size: int) -> None:
        self.workers = [Worker() for _ in range(size)]
        self.num_workers = size
        self.start_time = float("-inf")


@pytest.fixture
def leaving(monkeypatch: pytest.MonkeyPatch) -> dict[str, float | None]:
    """Nodes that are drained."""
    found: dict[str, float | None] = {}
    monkeypatch.setattr(nodes, "draining", lambda: found)
    return found


def policy(room: dict[str, dict[str, float]], allowed: set[int]) -> GentlePolicy:
    scaling = ScalingConfig(num_workers=(1, 8), resources_per_worker={"CPU": 1.0})
    made = GentlePolicy(scaling, allowed)
    made._latest_reserved_resources = room
    made._latest_reserved_resources_query_time = time.monotonic() + 1000  # so it holds, and nobody is asked
    vars(made)["_maybe_send_resource_request"] = lambda: None
    return made


def size(decision: object) -> int:
    assert isinstance(decision, ResizeDecision)
    return decision.num_workers


def test_all_room_is_used(leaving: dict[str, float | None]) -> None:
    decision = policy({"a": ROOM, "b": ROOM}, {1, 2, 3, 4}).make_decision_for_non_running_worker_group()
    assert size(decision) == 4


def test_node_that_is_drained_gets_no_worker(leaving: dict[str, float | None]) -> None:
    leaving["b"] = None
    decision = policy({"a": ROOM, "b": ROOM}, {1, 2, 3, 4}).make_decision_for_non_running_worker_group()
    assert size(decision) == 2


def test_largest_size_that_the_run_can_be_cut_for_is_taken(leaving: dict[str, float | None]) -> None:
    decision = policy({"a": ROOM, "b": {"CPU": 5.0}}, {2, 4}).make_decision_for_non_running_worker_group()
    assert size(decision) == 4


def test_without_room_for_the_smallest_size_nothing_starts(leaving: dict[str, float | None]) -> None:
    decision = policy({"a": ROOM}, {4}).make_decision_for_non_running_worker_group()
    assert isinstance(decision, NoopDecision)


def test_running_group_is_asked_to_stop_behind_a_checkpoint_and_not_killed(leaving: dict[str, float | None]) -> None:
    group: Any = Group(2)
    decision = policy({"a": ROOM, "b": ROOM}, {2, 4}).make_decision_for_running_worker_group(group, NO_NEWS)
    assert isinstance(decision, NoopDecision)
    assert [worker.heard for worker in group.workers] == [
        [("interrupt", "there is room for 4 workers instead of 2")],
        [("interrupt", "there is room for 4 workers instead of 2")],
    ]


@pytest.mark.parametrize("count", [4, 8])
def test_group_that_cannot_grow_is_left_alone(leaving: dict[str, float | None], count: int) -> None:
    group: Any = Group(count)
    policy({"a": ROOM, "b": ROOM}, {4, 8}).make_decision_for_running_worker_group(group, NO_NEWS)
    assert [worker.heard for worker in group.workers] == [[]] * count
