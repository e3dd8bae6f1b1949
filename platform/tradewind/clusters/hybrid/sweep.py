"""The leak sweep: machines that carry the cluster's tag and that nobody will ever give back are ended.

There are four kinds. Of a launch whose answer was lost, the machine may have been made all the same, while others were
launched in its place. Machines that Ray's provider does not list, because they were stopped or lost Ray's tag, are
never given back. Machines of Azure that were sold out are listed, and never run. And a machine past its expiry is ended
whatever it does. What Azure's machines leave is ended with them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from tradewind.clusters.hybrid.backend import Backend
from tradewind.clusters.hybrid.census import Counted, count
from tradewind.clusters.hybrid.failures import understand
from tradewind.clusters.hybrid.journal import Journal
from tradewind.clusters.hybrid.remains import delete, find_remains
from tradewind.clusters.hybrid.tags import node_id
from tradewind.errors import TradewindError

GRACE_S = 180.0
"""A machine younger than this may still be part of a launch: an SDK waits 60 s for an answer, and tries again."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Leak:
    node: str
    reason: str
    usd_per_hour: float
    is_head: bool = False


@dataclass(frozen=True)
class Swept:
    """`ended` is what was found, also in a dry run; `problems` are backends that could not be asked or obeyed."""

    ended: tuple[Leak, ...]
    problems: tuple[TradewindError, ...]


def sweep(
    backends: Iterable[Backend],
    journal: Journal,
    *,
    lost: Collection[str],
    grace_s: float = GRACE_S,
    dry_run: bool = False,
) -> Swept:
    """Find leaks in all backends and end them; the head, when its time is over, comes last."""
    found: list[tuple[Callable[[], None], Leak]] = []
    problems: list[TradewindError] = []
    for backend in backends:
        try:
            found += find(backend, journal.cluster, lost=lost, grace_s=grace_s)
        except Exception as exc:  # noqa: BLE001 - one cloud that fails must not keep leaks in the others
            problems.append(understand(exc, where=f"{backend.name}: sweep").error)
    ended = []
    for end, leak in sorted(found, key=lambda item: item[1].is_head):
        if not dry_run:
            try:
                end()
            except Exception as exc:  # noqa: BLE001
                problems.append(understand(exc, where=f"{leak.node}: end").error)
                continue
            journal.decide("sweep", leak.node, leak.reason)
        ended.append(leak)
    return Swept(tuple(ended), tuple(problems))


def find(
    backend: Backend, cluster: str, *, lost: Collection[str], grace_s: float = GRACE_S
) -> Iterator[tuple[Callable[[], None], Leak]]:
    """Leaks in one backend, each with what ends it. Raises whatever its SDK raises."""
    now = time.time()
    for machine in count(backend, cluster):
        if reason := _why(machine, lost, now, grace_s):
            carried = machine.carried
            node = node_id(backend.name, machine.native)
            leak = Leak(node, reason, carried.usd_per_hour, is_head=carried.is_head)
            yield partial(backend.end, [machine.native]), leak
    if backend.kind == "azure":
        for remains in find_remains(backend.provider, cluster):
            reason = f"its machine is gone or was never made ({remains.kind})"
            yield partial(delete, backend.provider, remains), Leak(node_id(backend.name, remains.name), reason, 0.0)


def _why(machine: Counted, lost: Collection[str], now: float, grace_s: float) -> str:
    carried = machine.carried
    if carried.token and carried.token in lost:
        return "the answer to its launch was lost, and others were launched in its place"
    if carried.expires is not None and carried.expires <= now:
        return f"its time ended {now - carried.expires:.0f} s ago"
    age_s = now - (carried.since or 0.0)
    if machine.failed and age_s > grace_s:
        return "its making failed, so it never runs"
    if not machine.listed and age_s > grace_s:
        return "it is stopped or without Ray's tag, so Ray never gives it back"
    return ""
