"""Gives workers their ranks by where they are, each time that they start.

Ray Train numbers them node by node, and the nodes as its scheduler found them. The callback here puts the nodes in the
order of `parallel/topology.py` and lets Ray Train number them again, right before workers are told of their ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.train.v2._internal.execution.worker_group import Worker, WorkerGroup

from tradewind.clusters.overlay.node_files import SITE
from tradewind.training.job import Job, layout_of
from tradewind.training.parallel.topology import Place, rank_order, tell

RACK = "tradewind-rack"
"""A node's label, set by whoever knows: `ray start --labels tradewind-rack=r1`. Any part of a network that is faster
inside than to its outside: a rack, the nodes of one NVLink domain, a cloud's placement group."""
ZONE, REGION = "ray.io/availability-zone", "ray.io/availability-region"
"""Labels that Ray's launcher and KubeRay set."""


class Ranks(WorkerGroupCallback):
    def __init__(self, job: Job) -> None:
        self._job = job

    def before_init_train_context(self, workers: list[Worker]) -> dict[str, list[Any]]:
        """`workers` is Ray Train's own list, in the order of the ranks, which it goes on with."""
        places = places_of(workers, ray.nodes())  # type: ignore[no-untyped-call]
        layout = layout_of(self._job, len(workers))
        order = rank_order(places, layout)
        workers[:] = WorkerGroup._assign_worker_ranks([workers[number] for number in order])
        tell([places[number] for number in order], layout)
        return {}


def places_of(workers: Sequence[Worker], nodes: Sequence[Mapping[str, Any]]) -> list[Place]:
    """Where workers are, by the labels of `ray.nodes()`."""
    labels = {node["NodeID"]: node["Labels"] for node in nodes}
    return [_place(worker, labels.get(worker.metadata.node_id, {})) for worker in workers]


def _place(worker: Worker, labels: Mapping[str, str]) -> Place:
    return Place(
        host=worker.metadata.hostname,
        node=worker.metadata.node_id,
        rack=labels.get(RACK, ""),
        zone=labels.get(ZONE, ""),
        region=labels.get(REGION, ""),
        site=labels.get(SITE, ""),
    )
