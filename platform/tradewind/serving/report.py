"""What a replica tells the front about itself, twice a second."""

from dataclasses import dataclass
from typing import Literal

ReplicaStatus = Literal["starting", "ready", "draining"]


@dataclass(frozen=True)
class ReplicaReport:
    """One replica's state at one moment.

    Plain fields only, so that a report crosses processes by pickle and becomes
    JSON by `dataclasses.asdict`.
    """

    replica: str
    """The replica's own name, unique within its endpoint and never used again."""

    url: str
    """Where it answers, as `http://address:port` without a path."""

    status: ReplicaStatus

    capacity: float
    """Tokens in flight that it can carry while it keeps its promised latency; above zero."""

    running: int = 0
    """Sequences that are being decoded now."""

    waiting: int = 0
    """Requests that it has accepted and not begun."""

    tokens_in_flight: int = 0
    """Prompt and answer tokens of everything running and waiting."""

    kv_use: float | None = None
    """Share of the key/value cache in use, 0 to 1; None where the engine has none."""

    ttft_p95_s: float | None = None
    """95th percentile of the time to the first token, last minute; None without requests."""

    models: tuple[str, ...] = ()
    """Names that requests may carry in `model`: the model's own, then its adapters'."""

    tokens_in: int = 0
    """Prompt tokens since the replica began: never falls, so that differences are rates."""

    tokens_out: int = 0
    """Answer tokens since the replica began."""
