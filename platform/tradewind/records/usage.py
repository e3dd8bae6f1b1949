"""The record of the ledger: what was used, for what, and what it cost at that moment."""

from __future__ import annotations

from typing import ClassVar, Literal

from tradewind.records.base import Record
from tradewind.records.place import Boundary

Activity = Literal["dataset", "training", "serving", "transfer"]


class Usage(Record):
    kind: ClassVar[str] = "usage"

    usage_id: str
    activity: Activity
    subject: str
    """Id of the record that the work made or served: `dataset:…`, `run:…`, `endpoint:…`."""
    machine: str
    requests: int = 0
    tokens_in: int = 0
    """Tokens read: prompts for serving, training tokens for training."""
    tokens_out: int = 0
    """Tokens made: completions for serving, tokens written for a dataset."""
    num_bytes: int = 0
    """Bytes that a transfer moved between a store and this machine."""
    boundary: Boundary | None = None
    """What they crossed."""
    store: str | None = None
    """URL of the store that gave or took them."""
    seconds: float
    cpu_seconds: float
    energy_wh: float
    energy_basis: str = "estimated"
    usd: float

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.usage_id}"
