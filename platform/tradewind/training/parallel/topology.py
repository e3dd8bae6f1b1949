"""Which process becomes which rank of a layout: ranks that speak much stand near, by what is known of their machines.

This is settled before the process group starts, since a group counts its ranks upwards: a place in a layout is a rank
and nothing else. Places count with tensor innermost, then context, shard, replicate, pipeline. So processes of one rack
come together, in it those that share an NVLink domain, in it those of a host, in the order of their devices.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from tradewind.training.parallel.layout import Layout

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store


@dataclass(frozen=True)
class Location:
    """Where a process runs. What is not known is empty, and then tells nothing apart."""

    host: str
    device: int = 0
    nvlink: str = ""
    """Hosts joined by NVLink, as in an NVL72 rack."""
    rack: str = ""
    zone: str = ""

    @classmethod
    def of(cls, host: str, device: int, labels: Mapping[str, str]) -> Location:
        """From a node's labels: `rack`, `zone` and `nvlink`, under any prefix, as in `example.com/rack`."""
        known = {label.rpartition("/")[2]: value for label, value in labels.items()}
        names = [field.name for field in fields(cls) if field.name not in ("host", "device")]
        return cls(host=host, device=device, **{name: known[name] for name in names if name in known})


@dataclass(frozen=True)
class Order:
    """`processes[rank]` is the number of the process that becomes it, and `said` is a line for the log."""

    processes: tuple[int, ...]
    said: str

    def rank_of(self, process: int) -> int:
        return self.processes.index(process)


def order_ranks(locations: Sequence[Location], layout: Layout) -> Order:
    """The order that keeps tensor groups inside of hosts, and hosts, NVLink domains and racks together.

    `locations[process]` is where a process runs. A host whose processes are no multiple of `tensor` has some left over,
    which are grouped with those left over of the nearest hosts.
    """
    near = sorted(range(len(locations)), key=lambda process: _key(locations[process], process))
    whole, left = [], []
    for processes in _by_host(near, locations):
        fits = len(processes) // layout.tensor * layout.tensor
        whole += processes[:fits]
        left += processes[fits:]
    order = (*whole, *left)
    return Order(order, _say(order, locations, layout))


def agree(store: Store, process: int, location: Location, layout: Layout) -> Order:
    """The order, where processes know of each other only by the store from which their group will start.

    Every process calls it with its own number, 0 to `layout.world` - 1, and gets the same.
    """
    store.set(f"location/{process}", json.dumps(asdict(location)))
    locations = [Location(**json.loads(store.get(f"location/{number}"))) for number in range(layout.world)]
    return order_ranks(locations, layout)


def _key(location: Location, process: int) -> tuple[str, str, str, str, int, int]:
    return location.zone, location.rack, location.nvlink, location.host, location.device, process


def _by_host(near: Iterable[int], locations: Sequence[Location]) -> list[list[int]]:
    hosts: dict[str, list[int]] = {}
    for process in near:
        hosts.setdefault(locations[process].host, []).append(process)
    return list(hosts.values())


def _say(order: Sequence[int], locations: Sequence[Location], layout: Layout) -> str:
    hosts = len({location.host for location in locations})
    said = f"{layout} on {hosts} host{'s' if hosts > 1 else ''}"
    starts = range(0, len(order), layout.tensor)
    groups = [{_link(locations[process]) for process in order[start : start + layout.tensor]} for start in starts]
    torn = [start for start, links in zip(starts, groups, strict=True) if len(links) > 1]
    if not torn:
        return said
    ranks = list(range(torn[0], torn[0] + layout.tensor))
    where = sorted({locations[order[rank]].host for rank in ranks})
    return (
        f"{said}; {len(torn)} of {len(groups)} tensor groups reach over hosts without NVLink, ranks {ranks} over"
        f" {' and '.join(where)}: slow, tensor {layout.tensor} should divide the devices of a host"
    )


def _link(location: Location) -> tuple[str, str]:
    """What the fast links of a process reach: its NVLink domain, or its host."""
    return location.nvlink, "" if location.nvlink else location.host
