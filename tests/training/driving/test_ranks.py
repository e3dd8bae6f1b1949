"""Ranks that workers of Ray Train get by the labels of their nodes."""

from __future__ import annotations

from typing import Any

import pytest
import ray
from ray.train.v2._internal.execution.worker_group.worker import ActorMetadata, Worker

from tests.training.driving.test_fit import job
from tradewind.training.driving.ranks import RACK, REGION, ZONE, Ranks

NODES: dict[str, dict[str, str]] = {
    "n1": {RACK: "r2", ZONE: "z1"},
    "n2": {RACK: "r1", ZONE: "z2"},
    "n3": {RACK: "r1", ZONE: "z1"},
    "n4": {},
}


@pytest.fixture(autouse=True)
def nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: [{"NodeID": node, "Labels": labels} for node, labels in NODES.items()])


def worker(node: str, chip: int) -> Worker:
    place = ActorMetadata(f"host-{node}", node, f"10.0.0.{node[1:]}", pid=chip, accelerator_ids={"GPU": [str(chip)]})
    nobody: Any = None
    return Worker(nobody, place, {"GPU": 1.0})


def ranked(*places: tuple[str, int], **changes: Any) -> list[Worker]:
    workers = [worker(node, chip) for node, chip in places]
    assert Ranks(job(workers=len(workers), **changes)).before_init_train_context(workers) == {}
    return workers


def test_ranks_go_by_zone_rack_node_and_chip() -> None:
    disorder = [("n2", 1), ("n1", 0), ("n3", 10), ("n2", 0), ("n4", 0), ("n3", 9), ("n1", 1), ("n4", 1)]
    workers = ranked(*disorder)
    found = [(one.metadata.node_id, one.metadata.gpu_ids[0]) for one in workers]
    order = ["n4", "n3", "n1", "n2"]
    assert [node for node, _ in found[::2]] == order
    assert [chip for _, chip in found] == ["0", "1", "9", "10", "0", "1", "0", "1"]


def test_workers_are_told_of_their_new_ranks() -> None:
    contexts = [one.distributed_context for one in ranked(("n2", 0), ("n1", 1), ("n2", 1), ("n1", 0))]
    found = [(one.world_rank, one.node_rank, one.local_rank, one.local_world_size) for one in contexts if one]
    assert found == [(0, 0, 0, 2), (1, 0, 1, 2), (2, 1, 0, 2), (3, 1, 1, 2)]


def test_log_says_who_is_where_and_what_is_bad_about_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        ranked(("n2", 0), ("n1", 1), ("n3", 1), ("n1", 0), parallel__tensor=2)
    said, bad = (record.getMessage() for record in caplog.records)
    assert said.split("), ") == [
        "ranks 0-1 on host-n1 (rack r2, zone z1",
        "rank 2 on host-n3 (rack r1, zone z1",
        "rank 3 on host-n2 (rack r1, zone z2)",
    ]
    assert "ranks 2-3 share matrices and are on host-n3" in bad
    assert "parallel.tensor 1 would stay inside" in bad


def test_labels_are_those_that_ray_writes() -> None:
    assert (REGION, ZONE) == ("ray.io/availability-region", "ray.io/availability-zone")
