"""What a report tells: the records of one journey, and the figures that follow from them.

It is given the records; it does not know where they are stored. Pieces that do not exist yet are None or empty, and
every figure that needs one of them is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tradewind.records import (
    CheckpointRecord,
    DatasetVersion,
    EndpointState,
    ModelVersion,
    Record,
    RunEnd,
    RunStart,
    Status,
    StepMetrics,
    Usage,
)


@dataclass(frozen=True)
class Story:
    """Everything the report of one journey tells."""

    dataset: DatasetVersion
    start: RunStart
    metrics: tuple[StepMetrics, ...]
    checkpoints: tuple[CheckpointRecord, ...]
    end: RunEnd | None
    """None: the run is still going."""
    model: ModelVersion | None
    aliases: tuple[str, ...]
    """Aliases that point at the model, like `prod`."""
    endpoint: EndpointState | None
    usage: tuple[Usage, ...]
    sample: tuple[str, str] | None
    """A prompt and what the model made of it."""

    @property
    def name(self) -> str:
        """`name@version` of the model, or the run when it has not become a model."""
        return f"{self.model.name}@{self.model.version}" if self.model else self.start.run

    @property
    def status(self) -> Status:
        return self.end.status if self.end else "running"

    @property
    def best(self) -> CheckpointRecord | None:
        """The checkpoint with the lowest held-out loss."""
        if self.end and self.end.best_step is not None:
            named = [checkpoint for checkpoint in self.checkpoints if checkpoint.step == self.end.best_step]
            if named:
                return named[0]
        judged = [checkpoint for checkpoint in self.checkpoints if checkpoint.heldout_loss is not None]
        return min(judged, key=lambda one: one.heldout_loss or 0.0, default=next(reversed(self.checkpoints), None))

    @property
    def source(self) -> CheckpointRecord | None:
        """The checkpoint that the model was made from; the best one while there is no model."""
        parents = self.model.parents if self.model else ()
        return next((checkpoint for checkpoint in self.checkpoints if checkpoint.id in parents), self.best)

    @property
    def heldout_loss(self) -> float | None:
        """Nats a token on the held-out documents, of the model if there is one."""
        if self.model and self.model.heldout_loss is not None:
            return self.model.heldout_loss
        if self.source:
            return self.source.heldout_loss
        return self.end.heldout_loss if self.end else None

    @property
    def bigram_loss(self) -> float | None:
        """Nats a token of the bigram baseline on the same held-out documents."""
        return self.end.bigram_loss if self.end else None

    @property
    def tokens(self) -> int:
        """Tokens that the run has trained on."""
        if self.end and self.end.tokens:
            return self.end.tokens
        return max((step.tokens for step in self.metrics), default=0)

    @property
    def tokens_per_s(self) -> float | None:
        if self.end and self.end.tokens_per_s:
            return self.end.tokens_per_s
        return self.metrics[-1].tokens_per_s if self.metrics else None

    @property
    def seconds(self) -> float | None:
        """Time of the run: all of it when it has ended, up to the last known step before."""
        if self.end and self.end.effort:
            return self.end.effort.seconds
        return self.metrics[-1].seconds if self.metrics else None

    @property
    def as_of(self) -> datetime:
        """Creation time of the newest record told here, so that the same records always make the same page."""
        records: list[Record | None] = [
            self.dataset, self.start, *self.checkpoints, self.end, self.model, self.endpoint, *self.usage,
        ]  # fmt: skip
        return max(record.created_at for record in records if record)
