"""Records of a cluster of rented and own machines: what was launched and why, and what else was decided."""

from __future__ import annotations

from typing import ClassVar, Literal

from tradewind.records.base import Fact, Record

Outcome = Literal["launched", "fewer", "sold_out", "in_use", "over_quota", "refused", "misfit", "no_answer", "lost"]
"""How an attempt ended.

`launched`: all that were asked for. `fewer`: the cloud gave some of them. `sold_out`: it has none, or none at this
price. `in_use`: all own hosts are. `over_quota`: the account may have no more. `refused`: bad credentials. `misfit`:
the cloud does not take the request as it is. `no_answer`: the cloud failed and made nothing. `lost`: the answer never
came, and no machine was found; if one appears after all, the sweep ends it.
"""

Action = Literal["end", "sweep", "lost", "backend_out", "over_cap", "unreachable"]
"""`end`: Ray gave the machine back. `sweep`: it was ended as a leak. `lost`: a launch was given up without an answer.
`backend_out`: a backend is left alone for a while. `over_cap`: a launch would have passed the highest price.
`unreachable`: nobody could log in."""


class Attempt(Fact):
    """One request to one cloud. `token` is the tag that its machines carry, and no others."""

    candidate: str
    backend: str
    market: str
    place: str
    machine: str
    usd_per_hour: float
    effective_usd_per_hour: float
    """With the work that interruptions lose; what candidates are ordered by."""
    token: str
    wanted: int
    outcome: Outcome
    reason: str = ""
    nodes: tuple[str, ...] = ()
    seconds: float


class Launch(Record):
    """Machines that Ray asked for. `attempts` are in the order in which they were made, the cheapest first."""

    kind: ClassVar[str] = "launch"

    cluster: str
    number: int
    writer: str
    node_type: str
    request: str
    """Ray's own word for the request; empty for the head."""
    wanted: int
    attempts: tuple[Attempt, ...]
    passed_over: tuple[str, ...] = ()
    """Candidates that were not tried, each with the reason."""
    reason: str
    """Why these machines and no others, in a sentence."""
    seconds: float

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.cluster}/{self.number}"

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(node for attempt in self.attempts for node in attempt.nodes)


class Decision(Record):
    """Something else that was decided. `subject` is a node, a backend, a class or the token of a launch."""

    kind: ClassVar[str] = "decision"

    cluster: str
    number: int
    writer: str
    action: Action
    subject: str
    reason: str

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.cluster}/{self.number}"
