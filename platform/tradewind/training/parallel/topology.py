"""Which rank goes to which worker, by where the workers are: those that speak most are to be near each other.

A layout counts ranks with `tensor` innermost and `pipeline` outermost (`layout.py`). So workers are numbered host by
host, hosts rack by rack, and racks zone by zone: matrices are shared inside a host, shards inside a rack as far as it
goes, and what is left to the long ways is what speaks least.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from tradewind.training.parallel.layout import Layout

log = logging.getLogger(__name__)
MOST_SAID = 16
Path = tuple[str, ...]
"""Names of where something is, from the widest to the narrowest."""


@dataclass(frozen=True)
class Place:
    """Where a worker is. What is not known is left empty, and then parts nobody."""

    host: str
    node: str = ""
    """Tells hosts of one name apart."""
    rack: str = ""
    zone: str = ""
    region: str = ""
    site: str = ""

    @property
    def path(self) -> Path:
        return self.site, self.region, self.zone, self.rack, self.host, self.node

    def __str__(self) -> str:
        around = [f"{kind} {name}" for kind in ("rack", "zone") if (name := getattr(self, kind))]
        return f"{self.host} ({', '.join(around)})" if around else self.host


def rank_order(places: Sequence[Place], layout: Layout) -> list[int]:
    """Numbers of `places`, in the order in which they get ranks. Workers of one host stay as they are given.

    Of hosts, racks and so on beside each other, those that the layout's groups fill without a rest come first, so that
    a host with too few chips shifts no others; then it goes by name. The order of different hosts in `places` does not
    matter: a group that starts anew in the same place is ranked the same way.
    """
    groups = (layout.tensor, layout.tensor * layout.context, layout.tensor * layout.context * layout.shard)
    return _in_order(range(len(places)), [place.path for place in places], groups[::-1])


def tell(places: Sequence[Place], layout: Layout) -> None:
    """Say in the log which ranks are where, and warn where it is bad for the layout. `places` are by rank."""
    log.info("%s", said(places))
    if bad := complaint(places, layout):
        log.warning("%s", bad)


def torn(places: Sequence[Place], size: int) -> Iterator[range]:
    """Of groups of `size` ranks that follow each other, those that are on several hosts."""
    for first in range(0, len(places), size):
        if len({place.path for place in places[first : first + size]}) > 1:
            yield range(first, first + size)


def complaint(places: Sequence[Place], layout: Layout) -> str | None:
    """What is bad about where ranks are, and what would be better; None where nothing is."""
    found = list(torn(places, layout.tensor))
    if not found:
        return None
    hosts = _listed(list(dict.fromkeys(str(places[rank]) for rank in found[0])))
    more = f", and so {len(found) - 1} groups more" if len(found) > 1 else ""
    fits = math.gcd(layout.tensor, *Counter(place.path for place in places).values())
    better = f"parallel.tensor {fits} would stay inside" if fits < layout.tensor else "number the ranks host by host"
    return (
        f"tensor {layout.tensor} goes from machine to machine, and waits for their network in each block: "
        f"{_ranks(found[0])} share matrices and are on {hosts}{more}; {better}"
    )


def said(places: Sequence[Place]) -> str:
    """Which ranks are where."""
    parts, first = [], 0
    for _, same in groupby(places, key=lambda place: place.path):
        here = list(same)
        parts.append(f"{_ranks(range(first, first + len(here)))} on {here[0]}")
        first += len(here)
    return _listed(parts)


def _in_order(numbers: Sequence[int], paths: Sequence[Path], sizes: Sequence[int], depth: int = 0) -> list[int]:
    """By the words of the paths from that depth on."""
    if len(numbers) == 1 or depth == len(paths[numbers[0]]):
        return list(numbers)
    parts: dict[str, list[int]] = {}
    for number in numbers:
        parts.setdefault(paths[number][depth], []).append(number)
    names = sorted(parts, key=lambda name: ([len(parts[name]) % size > 0 for size in sizes], _by_number(name)))
    return [number for name in names for number in _in_order(parts[name], paths, sizes, depth + 1)]


def _by_number(name: str) -> list[str | int]:
    """For sorting: `node-9` comes before `node-10`. Words and numbers take turns, so that they compare."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", name)]


def _ranks(ranks: range) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {ranks[0]}-{ranks[-1]}"


def _listed(parts: Sequence[str]) -> str:
    left = len(parts) - MOST_SAID
    return ", ".join(parts[:MOST_SAID]) + (f", and {left} more" if left > 0 else "")
