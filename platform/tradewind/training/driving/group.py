"""The process group of a run's workers, formed by Ray Train and left to end with its processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray
import ray.train.torch.config
from ray.train._internal.base_worker_group import BaseWorkerGroup

from tradewind.training.parallel.network import use_network

COLLECTIVE_TIMEOUT_S = 600
"""A collective that takes longer has failed. A rank that is gone is noticed within a second, by Ray."""


class _Backend(ray.train.torch.config._TorchBackend):
    def on_start(self, worker_group: BaseWorkerGroup, backend_config: Any) -> None:
        """Before the group is formed, each worker is told by which network the others are reached."""
        master = worker_group.execute_single(0, ray.util.get_node_ip_address)
        worker_group.execute(use_network, master, cuda=backend_config.backend == "nccl")
        super().on_start(worker_group, backend_config)

    def on_shutdown(self, worker_group: BaseWorkerGroup, backend_config: Any) -> None:
        """Ray's own asks each worker to destroy its group, and waits for those that are stuck in a collective.

        The workers are killed next, and the group with them.
        """


@dataclass
class ProcessGroup(ray.train.torch.config.TorchConfig):
    """gloo between processors, nccl between accelerators."""

    timeout_s: int = COLLECTIVE_TIMEOUT_S

    @property
    def backend_cls(self) -> type[_Backend]:
        return _Backend
