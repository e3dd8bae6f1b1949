"""Records of autoscaling: what was decided and why, and what could be seen at every moment."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from tradewind.records.base import Fact, Record

ReplicaRow = tuple[Literal["starting", "ready", "draining"], int, int, int, float | None, float | None, float]
"""Status, running, waiting, tokens in flight, use of the key/value cache, TTFT p95 in seconds, capacity."""


class ScalingDecision(Record):
    """A number of replicas that was asked for and was not before. `inputs` are the figures that it rests on."""

    kind: ClassVar[str] = "scaling decision"

    endpoint: str
    number: int
    writer: str
    at: datetime
    policy: str
    before: int
    target: int
    reason: str
    inputs: dict[str, float]

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.endpoint}/{self.number}"


class ScalingSample(Fact):
    """What the policy saw at `tick` and, unchanged, at the ones after it: `ticks` in all."""

    tick: int
    ticks: int = 1
    target: int
    """Asked for before."""
    decided: int
    queued: int
    arrivals_per_s: float
    tokens_per_s: float
    replicas: tuple[ReplicaRow, ...]


class ScalingWindow(Record):
    """Some minutes of an endpoint. A tick of `tick_s` has the number of seconds since the epoch over `tick_s`."""

    kind: ClassVar[str] = "scaling window"

    endpoint: str
    number: int
    writer: str
    policy: str
    limits: dict[str, Any]
    settings: dict[str, Any] = Field(default_factory=dict)
    """Of the policy, beyond the limits."""
    tick_s: float
    is_first: bool
    """The policy had seen nothing before: who decides again from here decides the same."""
    samples: tuple[ScalingSample, ...]
    """At least one, in the order of their ticks."""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.endpoint}/{self.number}"

    def to_json(self) -> bytes:
        """Without indentation, which would be most of the bytes."""
        return self.model_dump_json().encode()
