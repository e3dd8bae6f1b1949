"""Tells the workers of a run that Ray drains one of their nodes, at once and all of them.

Ray Train has a watcher of its own, a process more, which looks every 5 s, and after which the run stays where it is
until the node is gone (measured with Ray 2.60: 16 steps of 0.1 s lost with a deadline of 15 s).
"""

from __future__ import annotations

import time
from typing import Any

from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.train.v2._internal.execution.worker_group import WorkerGroup, WorkerGroupPollStatus

from tradewind.training.driving import nodes
from tradewind.training.recovery import interrupt

LOOK_EVERY_S = 0.5


class Departures(WorkerGroupCallback):
    def __init__(self) -> None:
        self._workers: list[Any] = []
        self._told: dict[str, float | None] = {}
        self._looked_at = 0.0

    def after_worker_group_start(self, worker_group: WorkerGroup) -> None:
        self._workers, self._told = worker_group.get_workers(), {}

    def after_worker_group_poll_status(self, worker_group_status: WorkerGroupPollStatus) -> None:  # noqa: ARG002
        if time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = time.monotonic()
        ours = {worker.metadata.node_id for worker in self._workers}
        leaving = {node: deadline for node, deadline in nodes.draining().items() if node in ours}
        for node, deadline in leaving.items():
            if node not in self._told:
                for worker in self._workers:
                    worker.execute_async(interrupt, f"node {node[:8]} is drained", deadline)
        self._told.update(leaving)
