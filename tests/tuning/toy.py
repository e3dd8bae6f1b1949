"""A trial that trains nothing: a noisy function of the learning rate and the weight decay, with sleeps for steps.

Its records are those of a training run: metrics with the objective at every step, a checkpoint at every fifth. What it
did is in the file `$TOY_LOG`, a line for each step that was really made, so that repeated ones can be counted.
"""

from __future__ import annotations

import hashlib
import math
import os
import signal
import time

from tests.tuning.sea import SLEEP, note, objective
from tradewind.records import CheckpointRecord, StepMetrics, StoredFile
from tradewind.training import recovery
from tradewind.training.control import Control
from tradewind.training.job import Job
from tradewind.training.metrics import MetricsWriter
from tradewind.training.run import RunFiles

CHECKPOINT_EVERY = 5


def train(job: Job) -> None:
    files, spec = RunFiles(job.store, job.run), job.spec
    rate, decay = spec.optimizer.learning_rate, spec.optimizer.weight_decay
    last = next(reversed(files.checkpoints()), None)
    step, began, attempt = last.step if last else 0, time.monotonic(), os.urandom(4).hex()
    sleep_s = float(os.environ.get(SLEEP, "0.25"))
    with MetricsWriter(files, writes=True) as metrics, Control(files, asks=True) as control:
        while step < spec.max_steps:
            time.sleep(sleep_s)
            step += 1
            note(spec.name, step)
            loss = objective(rate, decay, step)
            seconds = time.monotonic() - began
            metrics.write(
                StepMetrics(
                    attempt=attempt, step=step, tokens=step, seconds=seconds, loss=loss, learning_rate=rate,
                    grad_norm=1.0, tokens_per_s=1 / max(sleep_s, 1e-3), cpu_seconds=0.0,
                    heldout_loss=loss,
                )
            )  # fmt: skip
            stops, leaves = control.wishes()
            if step % CHECKPOINT_EVERY == 0 or step == spec.max_steps or stops or leaves:
                save(files, step, loss, seconds)
            if stops:
                return
            if leaves:
                raise recovery.Preempted(f"workers start anew behind a checkpoint of step {step}")


def save(files: RunFiles, step: int, loss: float, seconds: float) -> None:
    key = files.key(f"checkpoints/{step:09d}-toy/state.bin")
    data = f"{step}".encode()
    files.store.put(key, data)
    stored = StoredFile(key=key, sha256=hashlib.sha256(data).hexdigest(), num_bytes=len(data))
    record = CheckpointRecord(
        run=files.run, step=step, tokens=step, seconds=seconds, cpu_seconds=0.0, loss=loss, heldout_loss=loss,
        files=(stored,),
    )  # fmt: skip
    files.store.put(files.key(f"checkpoints/{step:09d}.json"), record.to_json())


def crash(job: Job) -> None:
    """Fails at once for large rates; else as `train`."""
    if job.spec.optimizer.learning_rate > 1e-2:
        raise ValueError("the rate blew up")
    train(job)


def nan(job: Job) -> None:
    """Reports nothing that is a number for large rates."""
    if job.spec.optimizer.learning_rate <= 1e-3:
        return train(job)
    files = RunFiles(job.store, job.run)
    with MetricsWriter(files, writes=True) as metrics:
        metrics.write(
            StepMetrics(
                attempt="a", step=1, tokens=1, seconds=1.0, loss=1.0, learning_rate=1.0, grad_norm=1.0,
                tokens_per_s=1.0, cpu_seconds=0.0, heldout_loss=math.nan,
            )
        )  # fmt: skip
    time.sleep(0.5)
    return None


def suicide(job: Job) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
