"""What Ray Train calls in each worker."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import ray.train
import torch
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
    use_assigned_processors(os.environ)
    recovery.begin()
    rank = ray.train.get_context().get_world_rank()
    with RunLog(RunFiles(job.store, job.run), rank), watchdog.watching(_fail):
        train(job)


def use_assigned_processors(environment: Mapping[str, str]) -> None:
    """Let torch compute with as many threads as Ray has assigned processors, or as the user has set.

    Ray says it by OMP_NUM_THREADS when it gives a process work, which then has loaded torch long ago (`warm`). With a
    thread for each processor in each of two workers, a step took 0.109 s in the place of 0.090 (two processors).
    """
    if threads := environment.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads.partition(",")[0]))


def _fail(error: TradewindError) -> None:
    """End the group with an error that is not raised by the loop, which may be stuck where nothing can be raised."""
    errors = get_train_context().execution_context.training_thread_runner.get_exception_queue()
    errors.put(UserExceptionWithTraceback(error, str(error)))
