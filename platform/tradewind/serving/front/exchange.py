"""One request on its way, and what became of it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tradewind.serving.front.board import Seat
    from tradewind.serving.front.client import ClientConnection
    from tradewind.serving.front.upstream import ReplicaConnection


class Exchange:
    """A request and its answer. The body is kept until the answer begins, so that it can be asked again elsewhere."""

    __slots__ = (
        "answer", "arrived_at", "attempts", "avoid", "began", "body", "client", "headers", "is_old", "keep_alive",
        "method", "says_length", "seat", "size", "target", "timer", "upstream",
    )  # fmt: skip

    def __init__(self, client: ClientConnection, *, answer: bytes | None = None) -> None:
        self.client: ClientConnection | None = client
        """None once the client is gone."""
        self.method = b""
        self.target = b""
        self.headers: list[bytes] = []
        """Lines with their ends; nothing that concerns one connection alone."""
        self.body: list[bytes] = []
        self.size = 0
        self.says_length = False
        """The request announced a body, which may be empty."""
        self.keep_alive = False
        self.is_old = False
        """Of HTTP/1.0, which knows no chunks."""
        self.answer = answer
        """What the front answers by itself, where it does."""
        self.began = False
        """Bytes of the answer were given to the client."""
        self.attempts = 0
        """Replicas that took it and died."""
        self.avoid: Seat | None = None
        self.seat: Seat | None = None
        """Where it counts as open."""
        self.upstream: ReplicaConnection | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.arrived_at = 0.0

    def model(self) -> str | None:
        """What the body names as its model; None where it is no JSON, or names none."""
        try:
            asked = json.loads(b"".join(self.body))
        except (ValueError, RecursionError):
            return None  # the replica says what is wrong with it
        named = asked.get("model") if isinstance(asked, dict) else None
        return named if isinstance(named, str) else None

    def message(self, prefix: bytes = b"") -> bytes:
        """The request as a replica gets it: the same method, target and headers, and the body with its length."""
        length = (b"content-length: %d\r\n" % self.size,) if self.says_length else ()
        line = b"%b %b%b HTTP/1.1\r\n" % (self.method, prefix, self.target)
        return b"".join((line, *self.headers, *length, b"\r\n", *self.body))
