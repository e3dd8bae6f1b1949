"""The time of nodes, which is what a cloud bills, held against the usage on them, hour by hour.

Two things must hold. On no node can more device time be held than there is. And the dollars of usage, together with
those of the time that nobody held at the node's price, must be the dollars of the node. What fails says that something
was counted twice, on no node, or at another price.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tradewind.records import Usage

TOLERANCE = 0.01
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class NodeHour:
    """One clock hour of one node. Times are device-seconds."""

    node: str
    hour: datetime
    node_s: float
    allocated_s: float
    node_usd: float
    usage_usd: float

    @property
    def idle_s(self) -> float:
        return max(0.0, self.node_s - self.allocated_s)

    @property
    def idle_usd(self) -> float:
        """The idle time at the node's own price."""
        return self.idle_s / self.node_s * self.node_usd if self.node_s else 0.0

    @property
    def excess_s(self) -> float:
        """Device time that was held and that the node did not have."""
        return max(0.0, self.allocated_s - self.node_s)


@dataclass(frozen=True)
class Reconciliation:
    hours: tuple[NodeHour, ...]
    tolerance: float = TOLERANCE

    @property
    def node_usd(self) -> float:
        return sum(hour.node_usd for hour in self.hours)

    @property
    def usage_usd(self) -> float:
        """Of work that held devices; bytes are not billed by nodes."""
        return sum(hour.usage_usd for hour in self.hours)

    @property
    def idle_usd(self) -> float:
        return sum(hour.idle_usd for hour in self.hours)

    @property
    def error(self) -> float:
        """How far usage and idle time are from the dollars of the nodes, hour by hour; 0.01 is 1 % of all dollars."""
        missing = sum(abs(hour.usage_usd + hour.idle_usd - hour.node_usd) for hour in self.hours)
        if not self.node_usd:
            return 0.0 if missing == 0 else float("inf")
        return missing / self.node_usd

    @property
    def overfull(self) -> tuple[NodeHour, ...]:
        """Hours in which more was held than there was, beyond the tolerance; of no node, anything that was held."""
        return tuple(hour for hour in self.hours if hour.excess_s > self.tolerance * hour.node_s)

    @property
    def is_balanced(self) -> bool:
        return not self.overfull and self.error <= self.tolerance

    def problems(self) -> list[str]:
        """What does not agree, in words."""
        said = [
            f"{one.node} {one.hour:%Y-%m-%d %H}:00 UTC: {one.allocated_s:.0f} device-seconds held of {one.node_s:.0f}"
            for one in self.overfull
        ]
        if self.error > self.tolerance:
            said.append(
                f"usage ${self.usage_usd:.2f} and idle ${self.idle_usd:.2f} are not the nodes' ${self.node_usd:.2f}"
                f" to {self.tolerance:.0%}"
            )
        return said


def reconcile(
    node_rows: Iterable[Usage], usage_rows: Iterable[Usage], *, tolerance: float = TOLERANCE
) -> Reconciliation:
    """Hold rows of nodes against rows of work on them, by machine and hour. Time is taken to be used evenly."""
    sums: dict[tuple[str, datetime], list[float]] = defaultdict(lambda: [0.0] * 4)
    for offset, rows in ((0, node_rows), (2, usage_rows)):
        for row in rows:
            for hour, share in _shares(row):
                cell = sums[row.machine, hour]
                cell[offset] += share * row.allocated_s
                cell[offset + 1] += share * row.usd
    hours = (
        NodeHour(node, hour, node_s=cell[0], node_usd=cell[1], allocated_s=cell[2], usage_usd=cell[3])
        for (node, hour), cell in sorted(sums.items())
    )
    return Reconciliation(tuple(hours), tolerance)


def _shares(row: Usage) -> Iterator[tuple[datetime, float]]:
    """The hours that a row covers, each with its part of the whole; none for a row that held nothing."""
    if row.seconds <= 0 or row.allocated_s <= 0:
        return
    began = (row.began_at or row.created_at - timedelta(seconds=row.seconds)).astimezone(UTC)
    ended = began + timedelta(seconds=row.seconds)
    hour = began.replace(minute=0, second=0, microsecond=0)
    while hour < ended:
        inside_s = (min(ended, hour + HOUR) - max(began, hour)).total_seconds()
        yield hour, inside_s / row.seconds
        hour += HOUR
