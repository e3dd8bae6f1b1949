"""The machines of a Ray cluster as serving sees them: which chips they have, how large and how fast each is.

Ray names a chip by a word of its vendor's, like `H100`, which the catalogue knows in several sizes; where the size
decides, the largest is taken, so that nothing is refused that might work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tradewind.catalog import load_catalog
from tradewind.catalog.chip import Chip
from tradewind.specs import ServeSpec

GPU, CPU, MEMORY = "GPU", "CPU", "memory"
ACCELERATOR = "ray.io/accelerator-type"
"""A label that Ray gives its nodes."""
ACCELERATOR_RESOURCE = "accelerator_type:"
"""Begins a resource that Ray gives nodes, and its autoscaler the kinds of node that it may start, which have no labels.
"""
MANY = 64
"""Nodes of a kind without a bound are counted as so many."""
_VENDOR = re.compile(r"^(AMD-Instinct-|AMD-|Intel-|NVIDIA-)|(-OAM|-HF)$", re.IGNORECASE)


@dataclass(frozen=True)
class Host:
    """A machine that is there, or that the autoscaler may start. Resources are those of Ray, memory in bytes."""

    resources: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)
    seen_bytes: int | None = None
    """Memory of one of its chips, where a program has looked."""

    @property
    def chips(self) -> int:
        return int(self.resources.get(GPU, 0))

    @property
    def accelerator(self) -> str:
        """Ray's word for its chips; empty where nothing says."""
        named = (name.removeprefix(ACCELERATOR_RESOURCE) for name in self.resources if ACCELERATOR_RESOURCE in name)
        return self.labels.get(ACCELERATOR) or next(named, "")

    def chip(self) -> Chip | None:
        """Its accelerator by the catalogue; None where that does not know it."""
        return largest_chip(self.accelerator)

    def pace(self, spec: ServeSpec) -> float | None:
        """Bytes a second that a replica's chips can read there; None where that is not known, as for processors.

        Each token reads all weights, so that sets the pace of decoding (Pope et al. 2022, section 3.2). On processors a
        replica computes on the one that it reserves, whatever the machine has.
        """
        chip = self.chip() if spec.chips else None
        return chip.memory_bytes_per_s * spec.parallel.chips if chip and chip.memory_bytes_per_s else None


def fastest_pace(spec: ServeSpec, hosts: Sequence[Host]) -> float | None:
    """Of the fastest machine that a replica may get; None where no pace is known."""
    return max((pace for host in suitable(spec, hosts) if (pace := host.pace(spec))), default=None)


def share_here(spec: ServeSpec, fastest: float | None) -> float:
    """What a replica on this node is worth beside one on the fastest chip: 1 where either pace is not known."""
    pace = Host({}, labels_here()).pace(spec) if fastest else None
    return pace / fastest if pace and fastest else 1.0


def largest_chip(word: str) -> Chip | None:
    """The catalogue's chip of that family with the most memory. `word` is as Ray says it: H100, AMD-Instinct-MI300X."""
    family = family_of(word)
    found = [chip for name, chip in load_catalog().chips.items() if family and family_of(name) == family]
    return max(found, key=lambda chip: chip.memory_bytes or 0, default=None)


def family_of(name: str) -> str:
    """`H100` for H100-SXM, `MI300X` for AMD-Instinct-MI300X-OAM."""
    return _VENDOR.sub("", name).partition("-")[0].upper()


def wanted_families(spec: ServeSpec) -> list[str]:
    """Of the accelerators that a spec may run on; none for any."""
    return sorted({family_of(chip) for chip in spec.where.chips if chip.lower() != "cpu"})


def suitable(spec: ServeSpec, hosts: Sequence[Host]) -> list[Host]:
    """Those on whose chips a replica may lie. A kind of node of which Ray does not say what it has may be one."""
    families = wanted_families(spec) if spec.chips else []
    if not families:
        return list(hosts)
    return [host for host in hosts if family_of(host.accelerator) in families or not (host.labels or host.accelerator)]


def hosts() -> list[Host]:
    """Of the Ray that this process is connected to, with those that its autoscaler may start."""
    return [*_nodes(), *_kinds()]


def seen_chip_bytes() -> int | None:
    """Memory of the first chip that this process sees, where the node's label does not say which it is.

    Asking begins with the device, after which vLLM must start its processes anew, 8 s slower: so the label goes first.
    """
    chip = largest_chip(labels_here().get(ACCELERATOR, ""))
    if chip and chip.memory_bytes:
        return None
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory) if torch.cuda.is_available() else None


def labels_here() -> dict[str, str]:
    """Of the node that this process of Ray's runs on."""
    import ray

    labels: dict[str, Any] = ray.get_runtime_context().get_node_labels()  # of texts, whatever Ray's annotation says
    return {name: str(value) for name, value in labels.items()}


def _nodes() -> Iterator[Host]:
    import ray

    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return (Host(node["Resources"], node.get("Labels", {})) for node in nodes if node["Alive"])


def _kinds() -> Iterator[Host]:
    """Each node that the autoscaler may start, as often as it may. Ray has no public door to its configuration."""
    from ray._private.state import state

    config = state.get_cluster_config()
    for group in config.node_group_configs if config else ():
        count = group.max_count if group.max_count > 0 else MANY
        yield from (Host(dict(group.resources)) for _ in range(min(count, MANY)))
