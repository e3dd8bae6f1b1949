"""The training loop, from top to bottom. Every rank runs it; a process group is all that it needs, Ray or not.

A step reads the ranks' parts of one global batch, so the data does not depend on how many ranks there are. Time, losses
and digests of what was read are summed over the ranks in one small collective a step: all ranks take the same
decisions, and a checkpoint can prove which samples the run has seen. State is written to the workspace by
`checkpoint.py`; a rank group that starts anew goes on from the newest whole checkpoint it finds.
"""

from __future__ import annotations

import contextlib
import math
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.utils import clip_grad_norm_

from tradewind.clusters import this_machine
from tradewind.datasets import Batches, Certificate, Reader, Samples
from tradewind.datasets.copies.budget import EgressBudget
from tradewind.datasets.reading.order import Words
from tradewind.errors import RunError
from tradewind.families import ModelShape
from tradewind.ledger import Ledger
from tradewind.records import CheckpointRecord, StepMetrics
from tradewind.specs import TrainSpec
from tradewind.storage import Store
from tradewind.training import checkpoint
from tradewind.training.data import TrainingData, open_data
from tradewind.training.metrics import MetricsWriter
from tradewind.training.model import Decoder
from tradewind.training.run import RunFiles

SMALLEST_GROUP = 2**20
"""Weights. Four blocks of 0.2 M on two gloo ranks: 14.4 k tokens/s gathered together, 9.5 k one by one (2 cores)."""


@dataclass(frozen=True)
class Job:
    """What every rank is given."""

    run: str
    spec: TrainSpec
    shape: ModelShape
    datasets: dict[str, float]
    """Versions with their weights."""
    store: Store
    team: str = ""


@dataclass
class Progress:
    """Where the run is. The numbers are equal on all ranks."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    data_seconds: float = 0.0
    loss: float = float("nan")
    attempt: str = field(default_factory=lambda: uuid.uuid4().hex[:8])


def train(job: Job) -> None:
    """Train until the steps or the time of the spec are used up. Needs an initialized process group."""
    with contextlib.closing(EgressBudget(job.store)):  # what this process has reserved and not spent goes back
        train_on(job, open_data(job.store, job.spec, job.datasets))


def train_on(job: Job, data: TrainingData) -> None:
    spec = job.spec
    rank, world = dist.get_rank(), dist.get_world_size()
    model = build(job.shape, seed=spec.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=0.0, betas=spec.optimizer.betas, weight_decay=spec.optimizer.weight_decay
    )
    progress, certificate = resume(job, model, optimizer, data.batches)
    reader = Reader(data.batches, rank=rank, world=world, start=certificate.samples)
    clock = Clock(progress)
    checkpointed_at = progress.seconds

    with (
        MetricsWriter(RunFiles(job.store, job.run), writes=rank == 0) as metrics,
        contextlib.closing(iter(reader)) as batches,
    ):
        while not finished(spec, progress):
            learning_rate = schedule(spec, progress)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            with clock.waiting():
                batch = next(batches)
            tokens = torch.from_numpy(batch.tokens).to(torch.int64)
            loss = cross_entropy(model, tokens) / (spec.batch.sequences * spec.batch.tokens_per_sequence)
            (loss * world).backward()  # type: ignore[no-untyped-call] # FSDP averages over the ranks; the loss is a sum over them
            norm = clip_grad_norm_(model.parameters(), spec.optimizer.clip_norm)
            optimizer.step()
            optimizer.zero_grad()

            progress.step += 1
            progress.tokens += spec.batch.sequences * spec.batch.tokens_per_sequence
            step_s, digest = clock.agree(progress, loss.item(), batch.digest)
            certificate.add(batch.rows, digest)
            if not math.isfinite(progress.loss):
                raise RunError(f"the loss is {progress.loss} at step {progress.step}", hint="try a lower learning_rate")
            heldout_loss, stopped_s = None, clock.stopped_s
            if progress.seconds - checkpointed_at >= spec.checkpoint_every_s or finished(spec, progress):
                with clock.stopped():
                    heldout_loss = evaluate(model, data, rank=rank, world=world)
                    save(job, model, optimizer, progress, certificate, heldout_loss)
                    record_transfers(job, data)
                checkpointed_at = progress.seconds
            metrics.write(
                StepMetrics(
                    attempt=progress.attempt,
                    step=progress.step,
                    tokens=progress.tokens,
                    seconds=progress.seconds,
                    loss=progress.loss,
                    learning_rate=learning_rate,
                    grad_norm=scalar(norm),
                    tokens_per_s=spec.batch.sequences * spec.batch.tokens_per_sequence / step_s,
                    cpu_seconds=progress.cpu_seconds,
                    data_seconds=progress.data_seconds,
                    stopped_seconds=clock.stopped_s - stopped_s,
                    heldout_loss=heldout_loss,
                )
            )


def build(shape: ModelShape, *, seed: int) -> Decoder:
    """The model with the same initial weights on every rank, sharded over all ranks.

    A block is gathered by itself, just before it is used, unless it is so small that waiting for the collective costs
    more than its memory is worth; small blocks are gathered once a step, together with the rest.
    """
    model = Decoder(shape)
    model.initialize(seed)
    mesh = init_device_mesh("cpu", (dist.get_world_size(),), mesh_dim_names=("shard",))
    for layer in model.model.layers:
        if sum(weight.numel() for weight in layer.parameters()) >= SMALLEST_GROUP:
            fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def cross_entropy(model: Decoder, batch: Tensor) -> Tensor:
    """The summed loss in nats of predicting each token of [sequences, time + 1] from those before it."""
    logits = model(batch[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="sum")


def schedule(spec: TrainSpec, progress: Progress) -> float:
    """The learning rate of the next step."""
    warm = min(1.0, (progress.step + 1) / max(1, spec.optimizer.warmup_steps))
    return spec.optimizer.learning_rate * warm * (1.0 - share_done(spec, progress))


def share_done(spec: TrainSpec, progress: Progress) -> float:
    """How much of the steps or of the time is used up, 0 to 1."""
    in_time = progress.seconds / spec.max_time_s if spec.max_time_s else 0.0
    return min(1.0, max(progress.step / spec.max_steps, in_time))


def finished(spec: TrainSpec, progress: Progress) -> bool:
    return share_done(spec, progress) >= 1.0


@torch.no_grad()
def evaluate(model: Decoder, data: TrainingData, *, rank: int, world: int) -> float:
    """Mean loss over every held-out sample, in nats a token. All ranks call the model equally often."""
    total, count = 0.0, 0
    for samples, some in heldout_batches(data):
        mine = some[len(some) * rank // world : len(some) * (rank + 1) // world]
        rows = torch.from_numpy(samples.read(mine if mine else some[:1])).to(torch.int64)
        loss = cross_entropy(model, rows).item()
        total += loss if mine else 0.0
        count += len(mine) * (rows.shape[1] - 1)
    summed = torch.tensor([total, count], dtype=torch.float64)
    dist.all_reduce(summed)
    return (summed[0] / summed[1]).item()


def heldout_batches(data: TrainingData) -> Iterator[tuple[Samples, range]]:
    """Every held-out sample once, as numbers of samples, as many together as are trained on in a step."""
    at_once = data.batches.sequences
    for samples in data.heldout:
        for start in range(0, samples.size, at_once):
            yield samples, range(start, min(start + at_once, samples.size))


def resume(
    job: Job, model: Decoder, optimizer: torch.optim.Optimizer, batches: Batches
) -> tuple[Progress, Certificate]:
    """Load the newest checkpoint, when there is one, and say where the run stands and what it has read."""
    newest: list[Any] = [None, None]
    if dist.get_rank() == 0:
        newest = [next(reversed(RunFiles(job.store, job.run).checkpoints()), None), uuid.uuid4().hex[:8]]
    dist.broadcast_object_list(newest)
    record, attempt = cast("tuple[CheckpointRecord | None, str]", tuple(newest))
    if record is None:
        return Progress(attempt=attempt), Certificate.start(batches)
    with unsharded_state(model, optimizer) as state:
        checkpoint.load(job.store, record, state)
    progress = Progress(
        step=record.step,
        tokens=record.tokens,
        seconds=record.seconds,
        cpu_seconds=record.cpu_seconds,
        loss=record.loss,
        attempt=attempt,
    )
    return progress, Certificate.from_bytes(bytes.fromhex(record.certificate), batches)


def save(
    job: Job,
    model: Decoder,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    certificate: Certificate,
    heldout_loss: float,
) -> None:
    """Write the parts of all ranks, then, by rank 0, the record that makes the checkpoint exist."""
    files = RunFiles(job.store, job.run)
    weights, moments = get_state_dict(model, optimizer)
    name = f"checkpoints/{progress.step:09d}"
    parts = checkpoint.save(
        job.store, files.key(f"{name}-{progress.attempt}"), {"model": weights, "optimizer": moments}
    )
    if dist.get_rank() == 0:
        record = CheckpointRecord(
            run=job.run,
            step=progress.step,
            tokens=progress.tokens,
            seconds=progress.seconds,
            cpu_seconds=progress.cpu_seconds,
            loss=progress.loss,
            heldout_loss=heldout_loss,
            certificate=certificate.to_bytes().hex(),
            files=parts,
            parents=(f"run:{job.run}",),
        )
        job.store.create(files.key(f"{name}.json"), record.to_json())


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


@contextlib.contextmanager
def unsharded_state(model: Decoder, optimizer: torch.optim.Optimizer) -> Iterator[dict[str, Any]]:
    """The state as a dict to be filled; what was filled in is put back into model and optimizer at the end."""
    weights, moments = get_state_dict(model, optimizer)
    state: dict[str, Any] = {"model": weights, "optimizer": moments}
    yield state
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])


class Clock:
    """Time of this attempt added to what the run had used before, agreed on by all ranks at every step."""

    def __init__(self, progress: Progress) -> None:
        self._wall = time.monotonic() - progress.seconds
        self._cpu = time.process_time()
        self._cpu_before = progress.cpu_seconds
        self._waited = 0.0
        self.stopped_s = 0.0
        """Left out so far."""

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Measure the block as time spent waiting for data."""
        began = time.monotonic()
        yield
        self._waited = time.monotonic() - began

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Leave the block's time out: evaluating and saving is not training."""
        began = time.monotonic()
        yield
        took_s = time.monotonic() - began
        self._wall += took_s
        self.stopped_s += took_s

    def agree(self, progress: Progress, loss: float, digest: Words) -> tuple[float, Words]:
        """Set times and loss of the step just made. Returns the seconds it took and the digest of all ranks."""
        mine = [time.monotonic() - self._wall, time.process_time() - self._cpu, self._waited, loss, *halves(digest)]
        summed = torch.tensor(mine, dtype=torch.float64)
        dist.all_reduce(summed)
        seconds, cpu_seconds, waited, loss, *parts = summed.tolist()
        world = dist.get_world_size()
        took = max(1e-9, seconds / world - progress.seconds)
        progress.seconds = seconds / world
        progress.cpu_seconds = self._cpu_before + cpu_seconds
        progress.data_seconds = waited / world
        progress.loss = loss
        return took, whole(parts)


def halves(words: Words) -> list[float]:
    """Words of 64 bits as twice as many numbers of 32, whose sums over up to 2²¹ ranks float64 holds exactly."""
    return [float(part) for word in words.tolist() for part in (word >> 32, word & 0xFFFFFFFF)]


def whole(parts: list[float]) -> Words:
    """The words of summed halves, modulo 2⁶⁴."""
    words = [
        (int(high) << 32) + int(low) & 0xFFFFFFFFFFFFFFFF for high, low in zip(parts[::2], parts[1::2], strict=True)
    ]
    return np.array(words, dtype=np.uint64)


def scalar(value: Tensor) -> float:
    """A number from a plain or a sharded tensor."""
    whole = value.full_tensor() if hasattr(value, "full_tensor") else value
    return float(whole)
