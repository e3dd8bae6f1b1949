"""One rank of a run: what it holds in memory, and what it does at each turn of the loop."""

from __future__ import annotations

import contextlib
import math
import uuid
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist

from tradewind.datasets import Batches, Certificate
from tradewind.datasets.reading.reader import Batch
from tradewind.errors import ConflictError, RunError
from tradewind.families import training_flops_per_token
from tradewind.records import CheckpointRecord, RollbackRecord
from tradewind.training import recovery
from tradewind.training.batch import Pass, Passes, passes_of
from tradewind.training.build import build, compute_format, first_weights
from tradewind.training.checkpoint import Checkpointer, TrainingState, resume
from tradewind.training.clock import Progress, Said
from tradewind.training.data import TrainingData
from tradewind.training.device import peak_flops, this_device
from tradewind.training.evaluation import heldout_loss
from tradewind.training.job import Job, layout_of
from tradewind.training.parallel import DistributedDecoder, Mesh
from tradewind.training.run import RunFiles
from tradewind.training.update import Update

PATIENCE_S = 60.0
"""For a checkpoint before workers start anew without a deadline."""


@dataclass
class Rank:
    """This rank's part of a run: what it holds, and what it does at each turn of the loop."""

    job: Job
    files: RunFiles
    mesh: Mesh
    model: DistributedDecoder
    update: Update
    state: TrainingState
    passes: Passes
    host: dist.ProcessGroup | None
    """Ranks through their hosts' network; None where that is the default group."""
    peak_flops: float | None
    """Of this rank's chip, in the format that is computed in; None where it is not known."""

    @classmethod
    def of(cls, job: Job, data: TrainingData) -> Rank:
        """Everything in memory, and no weights yet. A collective."""
        mesh = Mesh.of(layout_of(job, dist.get_world_size()), this_device())
        narrow = compute_format(job, mesh.device) != "float32"
        model = build(job, mesh)
        update = Update.of(model, job.spec.optimizer)
        return cls(
            job=job,
            files=RunFiles(job.store, job.run),
            mesh=mesh,
            model=model,
            update=update,
            state=TrainingState(model.decoders, [update.optimizer], data_rank=mesh.data_rank),
            passes=passes_of(job, data, mesh.layout, mesh.device),
            host=None if dist.get_backend() == "gloo" else dist.new_group(backend="gloo"),
            peak_flops=peak_flops(mesh.device, "bf16" if narrow else "fp32"),
        )

    @property
    def device(self) -> torch.device:
        return self.mesh.device

    @property
    def world(self) -> int:
        return dist.get_world_size()

    @property
    def leads(self) -> bool:
        """Whether it writes what one rank writes for all."""
        return dist.get_rank() == 0

    @property
    def speaks(self) -> bool:
        """Whether it says what was read: of ranks that read the same sequences, one does."""
        layout = self.mesh.layout
        return self.mesh.is_last_stage and self.mesh.place % (layout.tensor * layout.context) == 0

    @property
    def tokens_per_step(self) -> int:
        return self.job.spec.batch.sequences * self.job.spec.batch.tokens_per_sequence

    def resume(self, batches: Batches) -> tuple[Progress, Certificate]:
        """Load the newest checkpoint, or make the first weights; where the run stands and what it has read."""
        record = resume(self.files, self.state)
        attempt = [uuid.uuid4().hex[:8]]
        dist.broadcast_object_list(attempt, group=self.host)
        if record is None:
            first_weights(self.job, self.model)
            return Progress(attempt=attempt[0]), Certificate.start(batches)
        progress = Progress(
            step=record.step,
            tokens=record.tokens,
            seconds=record.seconds,
            cpu_seconds=record.cpu_seconds,
            loss=record.loss,
            attempt=attempt[0],
        )
        return progress, Certificate.from_bytes(bytes.fromhex(record.certificate), batches)

    def step(self, batch: Batch, rate: float) -> tuple[float, float]:
        """Forward, backward and update. Gives this rank's part of the mean loss, and the gradient's norm."""
        passes = self.passes.of(batch.tokens)
        scale = 1.0 / self._counted(passes)
        losses = [
            self.model.train_pass(one.tokens, one.targets, one.documents, scale=scale, is_last=number == len(passes))
            for number, one in enumerate(passes, start=1)
        ]
        norm = self.update.step(rate)
        return torch.stack(losses).sum().item() * scale, norm.item()

    def said(self, loss: float, batch: Batch, wishes: tuple[float, float], landed: bool) -> Said:
        """What it brings to the agreement of the step."""
        return Said(
            loss=loss if self.mesh.counts_losses else 0.0,
            digest=batch.digest if self.speaks else np.zeros_like(batch.digest),
            wishes=(*wishes, float(landed)),
        )

    def utilization(self, step_s: float) -> float | None:
        """The model's operations over the chips' peak; recomputed ones do not count (PaLM, appendix B)."""
        if self.peak_flops is None:
            return None
        flops = training_flops_per_token(self.job.shape, context=self.job.spec.batch.tokens_per_sequence).total
        return flops * self.tokens_per_step / step_s / (self.world * self.peak_flops)

    def heldout_loss(self, data: TrainingData) -> float:
        """Mean loss over every held-out sample, in nats a token."""
        part = heldout_loss(self._loss_of, data, self.passes, reader=self.mesh.data_rank, readers=self.mesh.data_world)
        total, count = self._summed(part[0], part[1] if self.speaks else 0)
        return total / max(1.0, count)

    def record(self, progress: Progress, certificate: Certificate, mean: float | None) -> CheckpointRecord:
        """All that a checkpoint's record says but its files."""
        layout = self.mesh.layout
        axes = ("pipeline", "replicate", "shard", "context", "tensor", "expert")
        return CheckpointRecord(
            run=self.job.run,
            step=progress.step,
            tokens=progress.tokens,
            seconds=progress.seconds,
            cpu_seconds=progress.cpu_seconds,
            loss=progress.loss,
            heldout_loss=mean,
            certificate=certificate.to_bytes().hex(),
            layout={axis: getattr(layout, axis) for axis in axes},
            precision=self.job.spec.precision.masters,
            optimizer=self.state.optimizer,
            files=(),
            parents=(f"run:{self.job.run}",),
        )

    def leave(self, checkpointer: Checkpointer, progress: Progress, certificate: Certificate) -> None:
        """Write a checkpoint within the time that is left. Raises Preempted, whether it was made or not."""
        told = recovery.interruption()
        mine = told.remaining_s() if told else None
        left = -self._largest(-mine if mine is not None else -math.inf)
        made = checkpointer.now(
            self.state.to_save(), self.record(progress, certificate, None), deadline_s=min(left, PATIENCE_S)
        )
        where = f"behind a checkpoint of step {progress.step}" if made else "without time for a checkpoint"
        raise recovery.Preempted(f"workers start anew {where}: {told.reason if told else 'another rank was told to'}")

    def roll_back(self, checkpointer: Checkpointer, progress: Progress, fault: str, count: int) -> None:
        """Take the weights of the last checkpoint again; the data goes on. Raises RunError where that is no help."""
        checkpointer.wait()
        record = resume(self.files, self.state) if count <= self.job.spec.guard.rollbacks else None
        if record is None:
            why = f"after {count - 1} rollbacks" if count > 1 else "and there is no checkpoint to go back to"
            raise RunError(f"{fault} at step {progress.step}, {why}", hint="try a lower learning_rate")
        if self.leads:
            said = RollbackRecord(
                run=self.job.run, step=progress.step, to_step=record.step, loss=progress.loss, reason=fault
            )
            with contextlib.suppress(ConflictError):  # a group before this one has said it already
                self.files.store.create(self.files.key(f"rollbacks/{progress.step:09d}.json"), said.to_json())

    def _loss_of(self, one: Pass) -> float:
        loss = self.model.evaluate_pass(one.tokens, one.targets, one.documents).item()
        return loss if self.mesh.counts_losses else 0.0

    def _counted(self, passes: list[Pass]) -> float:
        """Targets of the whole batch that a loss is taken of."""
        if not self.passes.conversations:
            return float(self.tokens_per_step)
        mine = sum(one.counted for one in passes) if self.speaks else 0
        return max(1.0, self._summed(float(mine))[0])

    def _summed(self, *numbers: float) -> list[float]:
        summed = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(summed, group=self.host)
        found: list[float] = summed.tolist()
        return found

    def _largest(self, number: float) -> float:
        largest = torch.tensor(number, dtype=torch.float64)
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=self.host)
        return largest.item()
