"""Writes down where the workers of a run are, each time that they start, and keeps the log of whoever drives them.

How many there are, and how often they started anew, Prometheus sees as well.
"""

from __future__ import annotations

import logging
from typing import Any

from ray.train.v2._internal.execution.callback import ControllerCallback, WorkerGroupCallback
from ray.train.v2._internal.execution.worker_group import Worker, WorkerGroup

from tradewind.errors import StorageError
from tradewind.records import RunWorker, RunWorkers
from tradewind.training.gauges import set_workers
from tradewind.training.logs import DRIVER, RunLog
from tradewind.training.run import RunFiles

_log = logging.getLogger(__name__)


class Places(WorkerGroupCallback, ControllerCallback):
    def __init__(self, files: RunFiles) -> None:
        self._files = files
        self._diary: RunLog | None = None
        self._starts = 0

    def after_controller_start(self, train_run_context: Any) -> None:  # noqa: ARG002
        self._diary = RunLog(self._files, DRIVER).__enter__()

    async def before_controller_shutdown(self) -> None:
        if self._diary:
            self._diary.__exit__(None, None, None)

    def after_worker_group_start(self, worker_group: WorkerGroup) -> None:
        workers = tuple(_place(worker) for worker in worker_group.get_workers())
        record = RunWorkers(run=self._files.run, workers=workers, parents=(f"run:{self._files.run}",))
        key = self._files.key(f"workers/{record.created_at:%Y%m%d-%H%M%S-%f}.json")
        try:
            self._files.store.put(key, record.to_json())
        except StorageError as exc:  # workers that cannot write either will say so, and which rank it was
            _log.warning("where the workers are is not written down: %s", exc.message)
        hosts = ", ".join(sorted({worker.host for worker in workers}))
        _log.info("%d workers have started on %s", len(workers), hosts)
        set_workers(self._files.run, workers=len(workers), restarts=self._starts)
        self._starts += 1


def _place(worker: Worker) -> RunWorker:
    assert worker.distributed_context is not None  # Ray Train ranks workers before it tells of them
    return RunWorker(
        rank=worker.distributed_context.world_rank,
        host=worker.metadata.hostname,
        address=worker.metadata.node_ip,
        node=worker.metadata.node_id,
        pid=worker.metadata.pid,
        chips=tuple(map(str, worker.metadata.gpu_ids)),
    )
