"""What is to be done, in sizes: the planner's only question. No prices, no places but that of the data."""

from __future__ import annotations

from dataclasses import dataclass, field

from tradewind.catalog.chip import Precision
from tradewind.families import ModelShape
from tradewind.records import UNKNOWN, Place


@dataclass(frozen=True)
class TrainingWork:
    """Pretraining or full fine-tuning with AdamW. A step works on `sequences` of `tokens_per_sequence` in all."""

    shape: ModelShape
    steps: int
    sequences: int
    tokens_per_sequence: int
    precision: Precision = "bf16"
    """Of the matrix products."""
    master: Precision = "fp32"
    """Of the weights that the optimizer changes, of its two moments, and of the gradients that it sees."""
    dataset_bytes: int = 0
    dataset_place: Place = field(default=UNKNOWN)
    checkpoint_every_s: float = 600.0
    longest_s: float | None = None
    """Training stops after so long, whatever was done by then."""

    @property
    def tokens(self) -> int:
        return self.steps * self.tokens_per_step

    @property
    def tokens_per_step(self) -> int:
        return self.sequences * self.tokens_per_sequence


@dataclass(frozen=True)
class ServingWork:
    """An endpoint under a steady load of requests, for some hours."""

    shape: ModelShape
    requests_per_s: float
    """Mean over the time."""
    peak_factor: float
    """The busiest hour over the mean."""
    tokens_in: int
    """Of a prompt, on average."""
    tokens_out: int
    """Of an answer, on average."""
    hours: float
    ttft_s: float | None = None
    """Bound on the time to the first token; None for no bound."""
    itl_s: float | None = None
    """Bound on the time between tokens."""
    weights: Precision = "bf16"
    cache: Precision = "bf16"
    """Of the cached keys and values."""
