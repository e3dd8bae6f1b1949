"""The training loop, from top to bottom. Every rank runs it; a process group is all that it needs, Ray or not.

A step reads the ranks' parts of one global batch, so the data does not depend on how many ranks there are. Time, losses
and digests of what was read are summed over the ranks in one small collective a step: all ranks take the same
decisions, and a checkpoint can prove which samples the run has seen. State goes to the workspace in the background; a
rank group that starts anew goes on from the newest whole checkpoint it finds.
"""

from __future__ import annotations

import contextlib

from tradewind.clusters import this_machine
from tradewind.datasets import Reader
from tradewind.datasets.copies.budget import EgressBudget
from tradewind.ledger import Ledger
from tradewind.records import StepMetrics
from tradewind.specs import TrainSpec
from tradewind.training import watchdog
from tradewind.training.checkpoint import Checkpointer, Keep
from tradewind.training.clock import Clock, Progress
from tradewind.training.control import Control
from tradewind.training.data import TrainingData, open_data
from tradewind.training.device import memory_used
from tradewind.training.guard import Guard
from tradewind.training.job import Job
from tradewind.training.memory import shortage_told
from tradewind.training.metrics import MetricsWriter
from tradewind.training.rank import Rank
from tradewind.training.run import RunFiles
from tradewind.training.schedule import learning_rate
from tradewind.training.step_profile import is_due, looking


def train(job: Job) -> None:
    """Train until the steps or the time of the spec are used up. Needs an initialized process group.

    Raises Preempted behind a checkpoint when workers shall start anew elsewhere, CapacityError without memory.
    """
    budget = contextlib.closing(EgressBudget(job.store))  # what this process has reserved and not spent goes back
    with budget, shortage_told(job.spec):
        train_on(job, open_data(job.store, job.spec, job.datasets))


def train_on(job: Job, data: TrainingData) -> None:
    spec, files = job.spec, RunFiles(job.store, job.run)
    rank = Rank.of(job, data)
    progress, certificate = rank.resume(data.batches)
    reader = Reader(data.batches, rank=rank.mesh.data_rank, world=rank.mesh.data_world, start=certificate.samples)
    clock, guard = Clock(progress, rank.host), Guard(spec.guard)
    checkpointed_at, rollbacks = progress.seconds, 0

    with (
        MetricsWriter(files, writes=rank.leads) as metrics,
        Checkpointer(files, progress.attempt, keep=Keep(last=spec.keep_checkpoints)) as checkpointer,
        Control(files, asks=rank.leads) as control,
        contextlib.closing(iter(reader)) as batches,
    ):
        while not finished(spec, progress):
            rate = learning_rate(spec.optimizer, step=progress.step + 1, done=share_done(spec, progress))
            with clock.waiting():
                batch = next(batches)
            with looking(is_due(progress.step + 1)) as profile:
                loss, norm = rank.step(batch, rate)

            watchdog.beat()
            progress.step += 1
            progress.tokens += spec.batch.sequences * spec.batch.tokens_per_sequence
            agreed = clock.agree(progress, rank.said(loss, batch, control.wishes(), checkpointer.is_over))
            certificate.add(batch.rows, agreed.digest)
            wants_stop, wants_leave, landed = (count > 0 for count in agreed.wishes)
            if landed and agreed.wishes[2] == rank.world:
                checkpointer.wait()
            if fault := guard.judge(progress.loss, norm):
                rollbacks += 1
                with clock.stopped():
                    rank.roll_back(checkpointer, progress, fault, rollbacks)
                continue

            mean, stopped_s = None, clock.stopped_s
            ends = wants_stop or finished(spec, progress)
            leaves = wants_leave and not ends
            due = progress.seconds - checkpointed_at >= spec.checkpoint_every_s
            if ends or (due and not leaves):
                with clock.stopped():
                    mean = rank.heldout_loss(data)
                    checkpointer.begin(rank.state.to_save(), rank.record(progress, certificate, mean))
                    record_transfers(job, data)
                checkpointed_at = progress.seconds
            metrics.write(
                StepMetrics(
                    attempt=progress.attempt,
                    step=progress.step,
                    tokens=progress.tokens,
                    seconds=progress.seconds,
                    loss=progress.loss,
                    learning_rate=rate,
                    grad_norm=norm,
                    tokens_per_s=rank.tokens_per_step / agreed.step_s,
                    cpu_seconds=progress.cpu_seconds,
                    data_seconds=progress.data_seconds,
                    stopped_seconds=clock.stopped_s - stopped_s,
                    heldout_loss=mean,
                    memory_bytes=memory_used(rank.device),
                    mfu=rank.utilization(agreed.step_s),
                    communication_seconds=profile.communication_s,
                )
            )
            if leaves:
                rank.leave(checkpointer, progress, certificate)
            if wants_stop:
                break


def share_done(spec: TrainSpec, progress: Progress) -> float:
    """How much of the steps or of the time is used up, 0 to 1."""
    in_time = progress.seconds / spec.max_time_s if spec.max_time_s else 0.0
    return min(1.0, max(progress.step / spec.max_steps, in_time))


def finished(spec: TrainSpec, progress: Progress) -> bool:
    return share_done(spec, progress) >= 1.0


def record_transfers(job: Job, data: TrainingData) -> None:
    """Write into the ledger what this rank has read since the last time."""
    for dataset in data.datasets:
        Ledger(job.store).record_transfers(
            dataset.origin.meter,
            subject=f"run:{job.run}",
            machine=this_machine(),
            team=job.team,
            dataset=dataset.reference,
        )
