"""What is alive in a cluster, where, since when, at which price and why: from its clouds and from its records.

It needs no Ray that runs, so it answers on a laptop as on the head, and also when the head is gone. Workers on own
hosts are in a file of the head; elsewhere they are told from the records, and are marked so.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tradewind.clusters.hybrid.backend import Backend, Machine
from tradewind.clusters.hybrid.provider import HybridNodeProvider
from tradewind.clusters.hybrid.seen import Seen, list_price, look
from tradewind.clusters.hybrid.settings import REGION_KEY
from tradewind.clusters.hybrid.tags import CANDIDATE, KIND, MACHINE, MARKET, NODE_TYPE, PRICE, STATUS, split_node_id
from tradewind.errors import SpecError
from tradewind.records import Decision, Launch
from tradewind.storage import RecordLog

NEWEST = 1000
"""Launches that are looked through for the reasons of what is alive."""


@dataclass(frozen=True)
class Alive:
    node: str
    kind: str
    node_type: str
    candidate: str
    market: str
    machine: str
    place: str
    usd_per_hour: float | None
    """None where neither a tag nor the catalogue has a price."""
    since: float | None
    """Unix seconds, as is `expires`."""
    expires: float | None
    state: str
    """Ray's word, `pending`, or `recorded` for a host that only the head sees."""
    why: str


@dataclass(frozen=True)
class BackendState:
    name: str
    kind: str
    machines: int
    age_s: float | None
    """Seconds since its machines were last listed; None when they never were."""
    trouble: str


@dataclass(frozen=True)
class ClusterState:
    cluster: str
    alive: tuple[Alive, ...]
    backends: tuple[BackendState, ...]
    max_usd_per_hour: float | None
    """None for a file without a highest price."""
    records: str
    """Where they are read."""
    decisions: tuple[Decision, ...]
    """The newest ones, the last one last."""

    @property
    def usd_per_hour(self) -> float:
        return sum(machine.usd_per_hour or 0.0 for machine in self.alive)


def open_cluster(config: Mapping[str, Any], *, name: str) -> HybridNodeProvider:
    """The provider of a file for `ray up`, of several clouds or of one. Raises SpecError for other files."""
    provider = config.get("provider")
    if not isinstance(provider, dict) or "cluster_name" not in config:
        raise SpecError(f"{name} is no file for `ray up`: it has no provider or no cluster_name")
    if provider.get("type") in REGION_KEY:
        backend = {**provider, "cache_stopped_nodes": False}
        return HybridNodeProvider({"backends": {provider["type"]: backend}}, config["cluster_name"])
    if "backends" not in provider:
        raise SpecError(f"{name}: nothing is known of a provider of type {provider.get('type')!r}")
    return HybridNodeProvider({**provider, "on_head": False}, config["cluster_name"])


def cluster_state(provider: HybridNodeProvider, *, decisions: int = 10) -> ClusterState:
    """Raises what the workspace says when its records cannot be read."""
    machines = provider.machines()
    launches = _newest(provider.journal.launches, NEWEST)
    reasons = {node: launch for launch in launches for node in launch.nodes}
    alive = [_alive(provider.backends[split_node_id(node)[0]], node, machine, reasons) for node, machine in machines]
    recorded = _recorded(provider, {machine.node for machine in alive}, reasons)
    return ClusterState(
        cluster=provider.cluster_name,
        alive=tuple(sorted([*alive, *recorded], key=lambda one: (one.kind != "head", one.since or 0.0, one.node))),
        backends=tuple(_backend(backend, machines) for backend in provider.backends.values()),
        max_usd_per_hour=provider.settings.cluster.max_usd_per_hour if "cluster" in provider.provider_config else None,
        records=provider.journal.place,
        decisions=tuple(_newest(provider.journal.decisions, decisions)),
    )


def _newest(records: RecordLog[Any], count: int) -> list[Any]:
    return [records.read(number) for number in records.numbers()[-count:]]


def _alive(backend: Backend, node: str, machine: Machine, reasons: Mapping[str, Launch]) -> Alive:
    tags, carried, seen = machine.tags, machine.carried, look(backend, machine.native)
    settings = getattr(backend.provider, "provider_config", {})
    place = seen.place or str(settings.get(REGION_KEY.get(backend.kind, ""), ""))
    seen = Seen(seen.machine or tags.get(MACHINE, ""), tags.get(MARKET, "") or seen.market, place, seen.since)
    price = carried.usd_per_hour if PRICE in tags else _list_price(backend, seen)
    return Alive(
        node=node, kind=tags.get(KIND, ""), node_type=tags.get(NODE_TYPE, ""), candidate=tags.get(CANDIDATE, ""),
        market=seen.market, machine=seen.machine or machine.native, place=place or backend.name, usd_per_hour=price,
        since=carried.since or seen.since, expires=carried.expires,
        state=tags.get(STATUS, "") if machine.running else "pending",
        why=reasons[node].reason if node in reasons else "",
    )  # fmt: skip


def _list_price(backend: Backend, seen: Seen) -> float | None:
    return list_price(backend.kind, seen) if seen.machine else None


def _recorded(provider: HybridNodeProvider, shown: set[str], reasons: Mapping[str, Launch]) -> Iterable[Alive]:
    """Own hosts that were launched by another machine, and that nobody has given back."""
    static = {name for name, backend in provider.backends.items() if backend.kind == "static"}
    theirs = {
        node: launch for node, launch in reasons.items() if split_node_id(node)[0] in static and node not in shown
    }
    if not theirs:
        return
    ended = {decision.subject: decision.created_at for decision in provider.journal.decisions.all()}
    for node, launch in theirs.items():
        if node in ended and ended[node] > launch.created_at:
            continue
        attempt = next(attempt for attempt in launch.attempts if node in attempt.nodes)
        backend, native = split_node_id(node)
        yield Alive(
            node=node, kind="worker", node_type=launch.node_type, candidate=attempt.candidate, market=attempt.market,
            machine=native, place=backend, usd_per_hour=attempt.usd_per_hour, since=launch.created_at.timestamp(),
            expires=None, state="recorded", why=launch.reason,
        )  # fmt: skip


def _backend(backend: Backend, machines: Iterable[tuple[str, Machine]]) -> BackendState:
    own = sum(split_node_id(node)[0] == backend.name for node, _ in machines)
    trouble = backend.trouble.reason if backend.trouble else ""
    return BackendState(backend.name, backend.kind, own, backend.age_s, trouble)


def left_s(machine: Alive) -> float | None:
    """Seconds until a machine is ended; None where it never is."""
    return None if machine.expires is None else max(0.0, machine.expires - time.time())
