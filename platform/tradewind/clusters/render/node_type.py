"""A node type of Ray: a name, what it offers, how many there may be, and what its cloud is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tradewind.clusters.overlay.node_files import MARKET, SITE
from tradewind.clusters.render.blueprint import Group
from tradewind.clusters.render.candidate import Candidate


@dataclass(frozen=True)
class NodeType:
    name: str
    comments: tuple[str, ...]
    resources: dict[str, int]
    node_config: dict[str, Any]
    min_workers: int
    max_workers: int
    labels: dict[str, str] = field(default_factory=dict)
    priority: int | None = None


def type_names(group: Group) -> list[str]:
    """One for each candidate: the group's name, with as much of the candidate as tells it from the others."""
    if len(group.candidates) == 1:
        return [group.name]
    for words in (_market, _machine, _zone):
        names = [f"{group.name}-{words(one)}" for one in group.candidates]
        if len(set(names)) == len(names):
            return names
    return [f"{group.name}-{number}" for number, _ in enumerate(group.candidates, 1)]


def labels(group: str, candidate: Candidate) -> dict[str, str]:
    """What tasks can ask for. Those that Ray keeps for itself begin with `ray.io/`."""
    return {
        "tradewind-group": group,
        SITE: f"{candidate.cloud}-{candidate.region}",
        MARKET: candidate.market,
    }


def _market(one: Candidate) -> str:
    return one.market.replace("_", "-")


def _machine(one: Candidate) -> str:
    return f"{one.machine}-{_market(one)}"


def _zone(one: Candidate) -> str:
    return f"{one.zone or one.region}-{_machine(one)}"
