"""The records of a training run: how it began, its checkpoints, how it ended."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from tradewind.records.base import Fact, Record, StoredFile
from tradewind.records.machine import Effort, Machine, ProcessName
from tradewind.records.plan import Prediction

Status = Literal["running", "finished", "failed", "stopped"]


class RunStart(Record):
    kind: ClassVar[str] = "run"

    run: str
    dataset: str
    """The first of `datasets`: its tokenizer is the run's."""
    datasets: dict[str, float] = Field(default_factory=dict)
    """Every dataset version with its weight."""
    parameters: int
    spec: dict[str, Any]
    machine: Machine
    share: float = Field(default=1.0, gt=0, le=1)
    """The part of the machine that is its own, where several runs go at once."""
    process: ProcessName
    versions: dict[str, str]
    team: str = ""
    """Whose run it is, for the ledger."""
    prediction: Prediction | None = None
    """What it was expected to take; None where nothing could be said."""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.run}"


class StepMetrics(Fact):
    """One optimizer step. `heldout_loss` is set where a checkpoint was made. Losses are nats a token.

    `seconds` is training time since the run began, `cpu_seconds` the processor time of all workers, `tokens` what has
    been trained on; all three go on counting where a lost worker's checkpoint had them. `attempt` names the group of
    workers: it changes when they start again.
    """

    attempt: str
    step: int
    tokens: int
    seconds: float
    loss: float
    learning_rate: float
    grad_norm: float
    tokens_per_s: float
    cpu_seconds: float
    data_seconds: float = 0.0
    """Part of the step in which workers waited for data, on average."""
    stopped_seconds: float = 0.0
    """Time behind the step, and not in `seconds`, in which a checkpoint was evaluated and saved."""
    heldout_loss: float | None = None
    memory_bytes: int = 0
    """Of the first worker: the most that it has reserved on its chip, or what is resident on a processor."""
    mfu: float | None = None
    """Operations of the model a second over the chips' peak; None where the peak is not known, as on processors."""
    communication_seconds: float | None = None
    """Time in which the first worker waited for others; only of steps that were looked into."""


class RollbackRecord(Record):
    """A step whose loss jumped: the weights went back to those of an earlier step, and the data went on."""

    kind: ClassVar[str] = "rollback"

    run: str
    step: int
    to_step: int
    """Of the checkpoint that was loaded."""
    loss: float
    reason: str

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.run}/{self.step}"


class CheckpointRecord(Record):
    """A complete checkpoint: written last, so that its existence means that every file is there."""

    kind: ClassVar[str] = "checkpoint"

    run: str
    step: int
    tokens: int
    seconds: float
    cpu_seconds: float
    loss: float
    heldout_loss: float | None = None
    """None where nothing was evaluated."""
    certificate: str = ""
    """What was read until here: 60 bytes in hexadecimal, see `tradewind.datasets.reading.certificate`."""
    attempt: str = ""
    """Of the group of workers that wrote it."""
    world: int = 0
    """How many ranks wrote it. Any number can read it."""
    layout: dict[str, int] = Field(default_factory=dict)
    """Sizes of the mesh's axes when it was written."""
    precision: str = ""
    """In which type the optimizer kept the weights."""
    optimizer: str = ""
    files: tuple[StoredFile, ...]

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.run}/{self.step}"


class RunEnd(Record):
    kind: ClassVar[str] = "run end"

    run: str
    status: Status
    message: str = ""
    hint: str | None = None
    failures: dict[str, str] = Field(default_factory=dict)
    steps: int = 0
    tokens: int = 0
    tokens_per_s: float = 0.0
    heldout_loss: float | None = None
    bigram_loss: float | None = None
    best_step: int | None = None
    restarts: int = 0
    effort: Effort | None = None
    used_s: float = 0.0
    """Seconds of steps, those that were made again included, and of checkpoints."""
    productive_s: float = 0.0
    """Seconds of the steps that count in the result. Waiting for data is in neither."""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.run}"


class RunSummary(Fact):
    """A line of `tw runs list`."""

    run: str
    status: Status
    dataset: str
    started_at: str
    steps: int
    tokens: int
    heldout_loss: float | None
    message: str = ""
