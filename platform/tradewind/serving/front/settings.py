"""What can be set of a front, with values that suit one endpoint of language models."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FrontSettings:
    """Bounds of a front. Each is there so that no client and no replica can make it grow without end."""

    host: str = "127.0.0.1"
    port: int = 8000

    targets: tuple[str, ...] = ()
    """URLs of servers that are there already and report nothing: they are asked for their health."""

    first_answer_s: float = 60.0
    """How long a request is held while no replica is ready, as when the endpoint is scaled to zero."""

    queue: int = 1024
    """Requests held at once; those beyond are answered 429."""

    drain_s: float = 20.0
    """How long answers that have begun may go on once the front stops."""

    max_body_bytes: int = 32 << 20
    """Of one request; a longer one is answered 413."""

    max_bodies_bytes: int = 1 << 30
    """Of all requests that are held or not yet answered; beyond it, 503."""

    max_head_bytes: int = 64 << 10
    """Of one request's line and headers; a longer one is answered 431."""

    idle_s: float = 75.0
    """How long a client's connection stays open between two requests."""

    stalled_s: float = 60.0
    """How long a client may send no more of a request it began, or read no more of its answer."""

    replica_idle_s: float = 3.0
    """How long a connection to a replica waits for its next request: less than the 5 s after which uvicorn closes."""

    connect_s: float = 2.0
    """How long a replica may take to accept a connection."""
