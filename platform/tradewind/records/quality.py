"""The record of a comparison: a model with the weights that are served, and with those of its files."""

from __future__ import annotations

from typing import ClassVar

from tradewind.records.base import Record


class QualityCheck(Record):
    """Losses are nats a token on one text. Figures of the unchanged weights begin with `reference_`. Measured."""

    kind: ClassVar[str] = "quality check"

    endpoint: str
    number: int
    writer: str
    model: str
    engine: str
    precision: str
    sample_sha256: str
    tokens: int
    loss: float
    reference_loss: float
    max_loss_increase: float
    passed: bool
    seconds: float
    """For the whole text."""
    reference_seconds: float
    weights_bytes: int | None
    reference_weights_bytes: int | None

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.endpoint}/{self.number}"

    @property
    def loss_increase(self) -> float:
        """As a share of the reference's loss; below zero where it is better."""
        return self.loss / self.reference_loss - 1
