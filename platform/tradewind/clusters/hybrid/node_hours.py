"""What each node of a cluster costs while it is there, as rows of the ledger, which work on it is held against.

Nodes are counted every minute with the sweep, and written every ten minutes and when they are gone. A head that dies
takes at most those ten minutes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tradewind.clusters.hybrid.backend import Machine
from tradewind.clusters.hybrid.settings import REGION_KEY
from tradewind.clusters.hybrid.tags import split_node_id
from tradewind.ledger import node_usage
from tradewind.records import UNKNOWN, Place, Usage
from tradewind.records import Machine as Node

WRITE_EVERY_S = 600.0
YOUNG_S = 300.0
"""A node that was launched so long ago at most, and was not counted before, is counted from its launch."""


@dataclass
class _Counted:
    machine: Machine
    since: float
    """Unix seconds up to which its time is written."""
    seen: float


class NodeHours:
    def __init__(
        self, cluster: str, owner: str, backends: Mapping[str, Mapping[str, Any]], write: Callable[[list[Usage]], None]
    ) -> None:
        self._cluster = cluster
        self._owner = owner
        self._places = {name: _place(backend) for name, backend in backends.items()}
        self._write = write
        self._counted: dict[str, _Counted] = {}
        self._written = 0.0

    def count(self, machines: Iterable[tuple[str, Machine]], now: float) -> None:
        """Take in which nodes there are at a moment, in Unix seconds, and write what is due."""
        there = dict(machines)
        for node, machine in there.items():
            began = machine.carried.since or now
            start = began if now - began <= YOUNG_S else now
            self._counted.setdefault(node, _Counted(machine, start, now)).seen = now
        gone = self._counted.keys() - there.keys()
        due = now - self._written >= WRITE_EVERY_S
        rows = [self._row(node) for node in self._counted if due or node in gone]
        if due:
            self._written = now
        for node in gone:
            del self._counted[node]
        if found := [row for row in rows if row.seconds > 0]:
            self._write(found)

    def _row(self, node: str) -> Usage:
        counted = self._counted[node]
        carried = counted.machine.carried
        place = self._places.get(split_node_id(node)[0], UNKNOWN)
        machine = Node(
            host=node, processor="", num_cpus=0, memory_bytes=0, usd_per_hour=carried.usd_per_hour, place=place
        )
        seconds = max(0.0, counted.seen - counted.since)
        began_at = datetime.fromtimestamp(counted.since, UTC)
        counted.since = counted.seen
        return node_usage(machine, cluster=self._cluster, began_at=began_at, seconds=seconds, team=self._owner)


def _place(backend: Mapping[str, Any]) -> Place:
    kind = str(backend.get("type", ""))
    region = str(backend.get("region") or backend.get(REGION_KEY.get(kind, ""), ""))
    return Place(cloud=kind, region=region) if kind in REGION_KEY else Place(cloud="onprem")
