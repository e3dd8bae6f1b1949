"""How many workers a run has: as many as there is room for, on nodes that stay, in numbers that its layout allows.

Ray Train's elastic policy resizes a running group by killing it. Here the workers are asked first: they write a
checkpoint, stop by themselves, and the next group is made with what is there then.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

import ray
from ray.train.v2._internal.execution.scaling_policy import NoopDecision, ResizeDecision, ScalingDecision
from ray.train.v2._internal.execution.scaling_policy.elastic import ElasticScalingPolicy
from ray.train.v2._internal.execution.worker_group import WorkerGroupPollStatus, WorkerGroupState
from ray.train.v2.api.config import ScalingConfig

from tradewind.training.driving import nodes
from tradewind.training.recovery import interrupt

ANSWER_S = 10.0


class GentlePolicy(ElasticScalingPolicy):
    """`allowed` are the numbers of workers that the run can be cut for."""

    def __init__(self, scaling_config: ScalingConfig, allowed: Collection[int]) -> None:
        super().__init__(scaling_config)
        self._allowed = allowed

    def make_decision_for_running_worker_group(
        self, worker_group_state: WorkerGroupState, worker_group_status: WorkerGroupPollStatus
    ) -> ScalingDecision:
        """Never a resize: one that would have been is announced to the workers, who end the group themselves."""
        decision = super().make_decision_for_running_worker_group(worker_group_state, worker_group_status)
        if isinstance(decision, ResizeDecision) and decision.num_workers > worker_group_state.num_workers:
            reason = f"there is room for {decision.num_workers} workers instead of {worker_group_state.num_workers}"
            for worker in worker_group_state.workers:
                worker.execute_async(interrupt, reason)
        return NoopDecision()

    def _count_possible_workers(self, reserved_resources: dict[str, Any]) -> int:
        leaving = nodes.draining()
        staying = {node: room for node, room in reserved_resources.items() if node not in leaving}
        most = super()._count_possible_workers(staying)
        return next((count for count in range(most, 0, -1) if count in self._allowed), 0)

    def _get_reserved_resources(self) -> dict[str, Any] | None:
        """Of the cluster as it is now. Ray's own answer may be 20 s old, and count a node that is gone."""
        now = time.monotonic()
        if now - self._latest_reserved_resources_query_time >= self.GET_RESERVED_RESOURCES_INTERVAL_S:
            asked = self._autoscaling_coordinator.get_reserved_resources.remote(self._requester_id, recompute=True)
            try:
                self._latest_reserved_resources = ray.get(asked, timeout=ANSWER_S)
            except ray.exceptions.RayError:
                self._latest_reserved_resources = None
            self._latest_reserved_resources_query_time = time.monotonic()
        return self._latest_reserved_resources
