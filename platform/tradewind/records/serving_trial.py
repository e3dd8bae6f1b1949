"""The record of a serving setting that was tried under load: what was asked, of which setting, and what came of it."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from tradewind.records.base import Fact, Record
from tradewind.records.machine import Machine


class ServingLoad(Fact):
    """Clients that ask again as soon as they are answered. Lengths are drawn evenly from half to 1.5 times the mean."""

    clients: int
    seconds: float
    """Of the measurement; the warm-up before it takes at most as long again."""
    tokens_in: int
    tokens_out: int
    seed: int = 0


class ServingFigures(Fact):
    """What clients saw: nearest-rank percentiles, in seconds."""

    answers: int
    """That ended while it was measured."""
    requests_per_s: float
    tokens_per_s: float
    """Tokens of answers."""
    ttft_p50_s: float
    ttft_p95_s: float
    itl_p50_s: float
    itl_p95_s: float
    answer_p50_s: float
    """From the request to the end of its answer."""
    answer_p95_s: float


class ServingTrial(Record):
    """`spec` and `load` are all that it takes to measure again; `figures` are missing where `failure` says why."""

    kind: ClassVar[str] = "serving trial"

    endpoint: str
    number: int
    writer: str
    search: str
    """The same for all trials of one search."""
    spec: dict[str, Any]
    load: ServingLoad
    machine: Machine
    versions: dict[str, str] = Field(default_factory=dict)
    start_s: float | None = None
    """Until the replica answered."""
    figures: ServingFigures | None = None
    failure: str | None = None

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.endpoint}/{self.number}"
