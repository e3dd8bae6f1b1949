"""The files of an endpoint's model, brought to the caches of all nodes on which a replica may come to lie."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from tradewind import progress
from tradewind.registry import Models
from tradewind.serving.hosts import CPU, Host, suitable
from tradewind.serving.model_files import ModelFiles
from tradewind.specs import ServeSpec
from tradewind.storage import Store


def prefetch(spec: ServeSpec, store: Store, files: ModelFiles) -> dict[str, Any]:
    """Begin, and return: node → what gives the seconds that it took. What came of it is in the log of this process.

    Nodes that come later are not seen; they fetch when a replica is placed there.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(fetch)
    begun = {
        node: task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
            store, files, list(spec.adapters.values())
        )
        for node in _nodes(spec)
    }
    threading.Thread(target=_follow, args=(files.reference, begun), name="tradewind-prefetch", daemon=True).start()
    return begun


def fetch(store: Store, files: ModelFiles, adapters: Sequence[str]) -> float:
    """Bring everything into the cache of this machine; gives the seconds that it took."""
    began = time.monotonic()
    with files.here():
        pass
    for reference in adapters:
        with Models(store).get(reference).linked():
            pass
    return time.monotonic() - began


def _nodes(spec: ServeSpec) -> Iterator[str]:
    """Those with chips or processors that may be a replica's."""
    import ray

    for node in ray.nodes():  # type: ignore[no-untyped-call]
        host = Host(node["Resources"], node.get("Labels", {}))
        room = host.chips if spec.chips else host.resources.get(CPU, 0)
        if node["Alive"] and room >= 1 and suitable(spec, [host]):
            yield node["NodeID"]


def _follow(reference: str, begun: dict[str, Any]) -> None:
    import ray
    from ray.exceptions import RayError

    for node, task in begun.items():
        try:
            progress.print_line(f"{reference} is in the cache of node {node}: {ray.get(task):.1f} s")
        except RayError as exc:
            progress.print_line(f"{reference} is not fetched to node {node}; a replica there will try: {exc}")
