"""What Ray Train calls in each worker."""

from __future__ import annotations

from typing import Any

import ray.train
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback
from ray.train.v2._internal.execution.context import get_train_context

from tradewind.errors import TradewindError
from tradewind.training import recovery, watchdog
from tradewind.training.logs import RunLog
from tradewind.training.run import RunFiles
from tradewind.training.worker import train


def run_worker(config: dict[str, Any]) -> None:
    """Train the job of `config` on this rank, watched, with its log in the workspace."""
    job = config["job"]
    recovery.begin()
    rank = ray.train.get_context().get_world_rank()
    with RunLog(RunFiles(job.store, job.run), rank), watchdog.watching(_fail):
        train(job)


def _fail(error: TradewindError) -> None:
    """End the group with an error that is not raised by the loop, which may be stuck where nothing can be raised."""
    errors = get_train_context().execution_context.training_thread_runner.get_exception_queue()
    errors.put(UserExceptionWithTraceback(error, str(error)))
