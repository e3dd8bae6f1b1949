"""The record of what hardware was seen to do, so that the next plan is better."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from tradewind.records.base import Record

Measured = Literal["training", "serving"]


class Measurement(Record):
    """Throughput of one piece of work on one kind of hardware."""

    kind: ClassVar[str] = "measurement"

    measurement_id: str
    work: Measured
    chip: str
    """Name in the catalogue, or that of the processor for work on processors."""
    chips_per_node: int
    nodes: int
    shape: dict[str, Any]
    """A `ModelShape` as plain data."""
    layout: dict[str, int]
    """Axes of a `Layout`."""
    precision: str
    tokens_per_sequence: int
    sequences: int
    """Training: in a global batch. Serving: in flight at a time."""
    recompute: str = "none"
    tokens_per_s: float
    """Training: trained on. Serving: read and written together. Of all chips."""
    predicted_tokens_per_s: float | None = None
    """What an uncorrected estimate said."""
    memory_bytes: int | None = None
    """Largest use of one chip's memory, where it was measured."""
    source: str
    """`run:…`, `endpoint:…`, or where the figure was read."""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.measurement_id}"
