"""What an autoscaling policy sees of an endpoint at one moment, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tradewind.serving.report import ReplicaStatus


@dataclass(frozen=True)
class ReplicaSignal:
    """One replica. The fields are those of its own report."""

    status: ReplicaStatus
    running: int = 0
    waiting: int = 0
    tokens_in_flight: int = 0
    kv_use: float | None = None
    ttft_p95_s: float | None = None
    capacity: float = 1.0


@dataclass(frozen=True)
class Signals:
    """The endpoint at `time_s`, which is on any clock that only moves forward."""

    time_s: float
    target: int
    """Replicas that were asked for last, by whoever asked."""
    replicas: tuple[ReplicaSignal, ...] = ()
    queued: int = 0
    """Requests that no replica has taken yet."""
    arrivals_per_s: float = 0.0
    """Requests that came, refused ones included, over the last seconds."""
    tokens_per_s: float = 0.0
    """Prompt and answer tokens of the requests that were finished; 0 where it is not known."""

    @property
    def ready(self) -> tuple[ReplicaSignal, ...]:
        return tuple(one for one in self.replicas if one.status == "ready")

    @property
    def starting(self) -> int:
        return sum(one.status == "starting" for one in self.replicas)

    @property
    def waiting(self) -> int:
        """Requests that no replica has begun, wherever they stand."""
        return self.queued + sum(one.waiting for one in self.replicas)

    @property
    def requests(self) -> int:
        """Requests that are running or waiting."""
        return self.waiting + sum(one.running for one in self.replicas)

    @property
    def tokens_in_flight(self) -> int:
        """Tokens of everything that a replica has taken."""
        return sum(one.tokens_in_flight for one in self.replicas)

    @property
    def is_idle(self) -> bool:
        return not self.requests and not self.arrivals_per_s


@dataclass(frozen=True)
class Decision:
    """How many replicas there should be. `reason` is one sentence, `inputs` the figures that it rests on."""

    target: int
    reason: str
    inputs: Mapping[str, float] = field(default_factory=dict)


class Policy(Protocol):
    """Decides from signals and from what it has seen before; it acts on nothing and reads no clock."""

    def decide(self, signals: Signals) -> Decision: ...
