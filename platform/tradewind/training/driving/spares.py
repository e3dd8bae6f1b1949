"""Worker processes that wait, warm, on each node of a run, so that a lost worker is replaced without loading anything.

Ray keeps processes for work to come, of the same runtime environment as the work; the raylet of a node starts some
when asked (`PrestartWorkers` of `node_manager.proto`, Ray 2.60), and gives them out before it starts new ones. There is
no public call for it. Where it fails, workers start cold, which is slow and otherwise right.
"""

from __future__ import annotations

import importlib
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.train.v2._internal.execution.worker_group import WorkerGroup, WorkerGroupPollStatus

AFTER_S = 3.0
"""Spares load for some seconds; they begin when the group's first steps are behind it."""
KEEP_S = 3600
ANSWER_S = 30.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kind:
    """Work that a process can be given: that of one job, in one runtime environment."""

    job: bytes
    runtime_env: str


class Spares(WorkerGroupCallback):
    """Keeps as many spares on each node as it has workers. Nodes with room and without workers get one."""

    def __init__(self) -> None:
        self._kept: Counter[str] = Counter()
        self._wanted: Counter[str] = Counter()
        self._renewed_at = 0.0
        self._due: float | None = None
        self._worker: Any = None

    def after_worker_group_start(self, worker_group: WorkerGroup) -> None:
        workers = worker_group.get_workers()
        self._wanted = Counter(worker.metadata.node_id for worker in workers)
        for node, count in self._wanted.items():
            self._kept[node] = max(0, self._kept[node] - count)
        self._worker = workers[0]
        self._due = time.monotonic() + AFTER_S

    def after_worker_group_poll_status(self, worker_group_status: WorkerGroupPollStatus) -> None:  # noqa: ARG002
        if self._due is None or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + KEEP_S
        if time.monotonic() - self._renewed_at >= KEEP_S:
            self._kept.clear()
        self._renewed_at = time.monotonic()
        threading.Thread(target=self._fill, args=(self._worker, self._wanted), daemon=True).start()

    def _fill(self, worker: Any, wanted: Counter[str]) -> None:
        try:
            kind = ray.get(worker.execute_async(this_kind), timeout=60)
            for node in ray.nodes():  # type: ignore[no-untyped-call]
                count = wanted[node["NodeID"]] - self._kept[node["NodeID"]]
                if node["Alive"] and count > 0:
                    prestart(node, kind, count)
                    self._kept[node["NodeID"]] += count
        except Exception:  # noqa: BLE001 - the end of a thread; without spares a run recovers more slowly
            _log.warning("no worker processes could be started ahead", exc_info=True)


def this_kind() -> Kind:
    """Of the worker that calls it."""
    worker: Any = ray._private.worker.global_worker
    return Kind(worker.current_job_id.binary(), worker.core_worker.get_current_runtime_env())


def prestart(node: Mapping[str, Any], kind: Kind, count: int) -> None:
    """Let a node of `ray.nodes()` start worker processes that wait for work of a kind."""
    from ray._private.grpc_utils import init_grpc_channel

    messages, services = _generated("node_manager_pb2"), _generated("node_manager_pb2_grpc")
    request = messages.PrestartWorkersRequest(
        language=_generated("common_pb2").Language.PYTHON,
        job_id=kind.job,
        runtime_env_info=_info(kind.runtime_env),
        keep_alive_duration_secs=KEEP_S,
        num_workers=count,
    )
    with init_grpc_channel(f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}") as channel:
        services.NodeManagerServiceStub(channel).PrestartWorkers(request, timeout=ANSWER_S)


def _info(runtime_env: str) -> Any:
    messages, parts = _generated("runtime_environment_pb2"), json.loads(runtime_env or "{}")
    uris = messages.RuntimeEnvUris(
        working_dir_uri=parts.get("working_dir", ""), py_modules_uris=parts.get("py_modules", [])
    )
    return messages.RuntimeEnvInfo(serialized_runtime_env=runtime_env, uris=uris)


def _generated(name: str) -> Any:
    """Code that Ray's build has made of its messages, without types."""
    return importlib.import_module(f"ray.core.generated.{name}")
