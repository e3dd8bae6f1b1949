"""How long chips talk: latency and bandwidth (Hockney 1994), and collectives as rings and trees over them.

Costs of collectives are those of Thakur, Rabenseifner and Gropp 2005 ("Optimization of collective communication
operations in MPICH"), with the latency of a tree and the volume of a ring: libraries take the one for short and the
other for long messages, and each is the smaller term there. Switches are not modelled, and neither is congestion.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tradewind.planner.node import Node

CHIP_LATENCY_S = 16e-6
CHIP_SHARE = 0.74
"""Latency of a step, and share of the link's rate that an all-reduce reaches. Measured on two H200 with NVLink4 of
450 GB/s in one direction, NCCL 2.28.9, multicast off: 222, 269, 312 and 328 GB/s at 16, 64, 436 and 1024 MiB."""

ONE_WAY_SHARE = 0.8
"""Of an all-reduce's rate, what gathers and scatters reach, which NCCL does not pipeline with each other.
Measured in the same run: all-gather 156, 211, 252, 265, reduce-scatter 166, 201, 238, 257 GB/s."""

RDMA_LATENCY_S, TCP_LATENCY_S = 20e-6, 60e-6
RDMA_SHARE, TCP_SHARE = 0.8, 0.4
"""Of the network's rate. Assumptions: RDMA loses little; NCCL over TCP used about a third of 100 Gbit/s in Zhang et al.
2020 ("Is network the bottleneck of distributed training?"), and more of a slower one."""

PCIE_BYTES_PER_S = {"3": 15.75e9, "4": 31.5e9, "5": 63.0e9}
"""Sixteen lanes in one direction, after line coding (PCI-SIG, base specifications 3.0 to 5.0)."""

UNKNOWN_LINK_BYTES_PER_S = PCIE_BYTES_PER_S["3"]
UNKNOWN_NETWORK_BYTES_PER_S = 1.25e9
"""Where the catalogue has none: the slowest bus of today's chips, and 10 Gbit/s, which machines with accelerators have
at least. On the careful side, and always marked as estimated."""


@dataclass(frozen=True)
class Link:
    """Between two chips in one direction, as communication libraries reach it."""

    latency_s: float
    bytes_per_s: float
    estimated: bool = False
    """Whether its rate is an assumption, because the catalogue has none."""


def all_reduce_s(link: Link, size_bytes: float, ranks: int) -> float:
    """Seconds until every rank has the sum of what all hold: twice the steps of a gather."""
    if ranks <= 1:
        return 0.0
    return 2 * _steps(ranks) * link.latency_s + 2 * (ranks - 1) / ranks * size_bytes / link.bytes_per_s


def all_gather_s(link: Link, size_bytes: float, ranks: int) -> float:
    """Seconds until every rank has all `size_bytes`, of which each held an equal part."""
    if ranks <= 1:
        return 0.0
    return _steps(ranks) * link.latency_s + (ranks - 1) / ranks * size_bytes / (ONE_WAY_SHARE * link.bytes_per_s)


def reduce_scatter_s(link: Link, size_bytes: float, ranks: int) -> float:
    """Seconds until each rank has its part of the sum of the `size_bytes` that all hold."""
    return all_gather_s(link, size_bytes, ranks)


def all_to_all_s(link: Link, size_bytes: float, ranks: int) -> float:
    """Seconds in which each rank sends an equal part of its `size_bytes` to every other."""
    return all_gather_s(link, size_bytes, ranks)


def send_s(link: Link, size_bytes: float) -> float:
    """Seconds from one rank to another."""
    return link.latency_s + size_bytes / link.bytes_per_s


def ring(node: Node, *, inner: int, ranks: int) -> Link:
    """The link that a ring of `ranks` chips runs at, each `inner` chips from the next: the slowest on its way.

    Rings of one machine's chips share its network, so each gets the part of the chips that it has there.
    """
    here = max(1, min(ranks, node.chips // inner))
    if here == ranks:
        return chip_link(node)
    part = here / node.chips if here > 1 else 1 / min(inner, node.chips)
    return _slowest(chip_link(node), network_link(node), part)


def chip_link(node: Node) -> Link:
    """Between the chips of one machine."""
    return _chip_link(node.chip.link_bytes_per_s, node.chip.link)


def network_link(node: Node) -> Link:
    """Between machines, with the whole network of a machine."""
    return _network_link(node.network_bytes_per_s, node.rdma)


def fit_alpha_beta(sizes_bytes: Sequence[float], seconds: Sequence[float]) -> Link:
    """The link whose `send_s` is nearest to measured times, by least squares of relative errors.

    Relative, because otherwise the long messages alone would decide, and latency shows in the short ones. Raises
    ValueError for fewer than two sizes, and for times that do not grow with size.
    """
    sizes, times = np.asarray(sizes_bytes, dtype=float), np.asarray(seconds, dtype=float)
    if len(np.unique(sizes)) < 2 or sizes.shape != times.shape or (times <= 0).any():
        raise ValueError("a latency and a bandwidth need positive times of two different sizes at least")
    rows = np.stack([1 / times, sizes / times], axis=1)
    scale = np.abs(rows).max(axis=0)
    latency_s, s_per_byte = np.linalg.lstsq(rows / scale, np.ones_like(times), rcond=None)[0] / scale
    if s_per_byte * sizes.max() <= 1e-9 * times.max():
        raise ValueError("these times do not grow with the size of the message")
    return Link(max(0.0, float(latency_s)), 1 / float(s_per_byte))


@lru_cache
def _chip_link(rate: float | None, name: str) -> Link:
    rate = rate or pcie_bytes_per_s(name)
    return Link(CHIP_LATENCY_S, CHIP_SHARE * (rate or UNKNOWN_LINK_BYTES_PER_S), estimated=rate is None)


def pcie_bytes_per_s(link: str) -> float | None:
    """The rate of a bus by its generation in the link's name; None for another one."""
    generation = re.match(r"PCIe([3-5])", link)
    return PCIE_BYTES_PER_S[generation[1]] if generation else None


@lru_cache
def _network_link(rate: float | None, rdma: bool) -> Link:
    latency_s, share = (RDMA_LATENCY_S, RDMA_SHARE) if rdma else (TCP_LATENCY_S, TCP_SHARE)
    return Link(latency_s, share * (rate or UNKNOWN_NETWORK_BYTES_PER_S), estimated=rate is None)


@lru_cache(maxsize=4096)
def _slowest(inside: Link, between: Link, part: float) -> Link:
    """Of a ring through both, with that part of the network."""
    rate = min(inside.bytes_per_s, part * between.bytes_per_s)
    return Link(between.latency_s, rate, inside.estimated or between.estimated)


@lru_cache
def _steps(ranks: int) -> int:
    return math.ceil(math.log2(ranks))
