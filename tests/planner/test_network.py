from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planner.h200 import H200
from tradewind.planner.network import (
    Link,
    all_gather_s,
    all_reduce_s,
    all_to_all_s,
    chip_link,
    fit_alpha_beta,
    network_link,
    reduce_scatter_s,
    ring,
    send_s,
)
from tradewind.planner.node import Node

MIB = 2**20
LINK = Link(10e-6, 100e9)
PAIR = Node(H200, 2, None, None, rdma=False)
EIGHT = Node(H200, 8, None, 400e9, rdma=True)


@given(latency_s=st.floats(1e-6, 1e-3), bytes_per_s=st.floats(1e8, 1e12), seed=st.integers(0, 1000))
def test_fit_finds_a_link_within_a_tenth(latency_s: float, bytes_per_s: float, seed: int) -> None:
    middle = latency_s * bytes_per_s
    sizes = middle * np.geomspace(1 / 100, 100, 12)
    noise = np.random.default_rng(seed).normal(1.0, 0.01, len(sizes))
    found = fit_alpha_beta(list(sizes), list((latency_s + sizes / bytes_per_s) * noise))
    assert found.latency_s == pytest.approx(latency_s, rel=0.1)
    assert found.bytes_per_s == pytest.approx(bytes_per_s, rel=0.1)


@pytest.mark.parametrize("seconds", [[1.0, 1.0, 1.0], [2.0, 1.0, 0.5], [1.0, 0.0, 2.0]])
def test_times_that_do_not_grow_have_no_link(seconds: list[float]) -> None:
    with pytest.raises(ValueError, match="times"):
        fit_alpha_beta([1e3, 1e6, 1e9], seconds)


def test_one_size_is_not_enough_for_a_link() -> None:
    with pytest.raises(ValueError, match="two different sizes"):
        fit_alpha_beta([1e6, 1e6], [1.0, 1.0])


@pytest.mark.parametrize(
    ("collective", "mib", "gb_per_s"),
    [
        *(("all_reduce", mib, rate) for mib, rate in ((16, 222), (64, 269), (436, 312), (1024, 328))),
        *(("all_gather", mib, rate) for mib, rate in ((16, 156), (64, 211), (436, 252), (1024, 265))),
        *(("reduce_scatter", mib, rate) for mib, rate in ((16, 166), (64, 201), (436, 238), (1024, 257))),
    ],
)
def test_nccl_on_two_h200_is_met_within_a_fifth(collective: str, mib: int, gb_per_s: float) -> None:
    cost = {"all_reduce": all_reduce_s, "all_gather": all_gather_s, "reduce_scatter": reduce_scatter_s}[collective]
    volume = (2 if collective == "all_reduce" else 1) * mib * MIB / 2
    assert volume / cost(chip_link(PAIR), mib * MIB, 2) == pytest.approx(gb_per_s * 1e9, rel=0.2)


@pytest.mark.parametrize("cost", [all_reduce_s, all_gather_s, reduce_scatter_s, all_to_all_s])
def test_one_rank_sends_nothing(cost: object) -> None:
    assert callable(cost)
    assert cost(LINK, 1e9, 1) == 0.0


@given(ranks=st.integers(2, 4096), size=st.floats(1, 1e12))
def test_all_reduce_sends_twice_the_volume_of_a_ring(ranks: int, size: float) -> None:
    latency_free = Link(0.0, 1.0)
    assert all_reduce_s(latency_free, size, ranks) == pytest.approx(2 * (ranks - 1) / ranks * size)


@given(ranks=st.integers(2, 2048), size=st.floats(1, 1e12))
def test_more_ranks_and_more_bytes_take_longer(ranks: int, size: float) -> None:
    assert all_gather_s(LINK, size, 2 * ranks) > all_gather_s(LINK, size, ranks)
    assert all_gather_s(LINK, 2 * size, ranks) > all_gather_s(LINK, size, ranks) > 0
    assert send_s(LINK, size) > LINK.latency_s


def test_ring_inside_a_machine_does_not_touch_the_network() -> None:
    assert ring(EIGHT, inner=1, ranks=8) == ring(EIGHT, inner=4, ranks=2) == chip_link(EIGHT)


def test_ring_over_machines_is_as_slow_as_its_slowest_part() -> None:
    slow = replace(EIGHT, network_bytes_per_s=1e9)
    assert ring(slow, inner=1, ranks=16).bytes_per_s == network_link(slow).bytes_per_s
    fast = replace(EIGHT, network_bytes_per_s=1e15)
    assert ring(fast, inner=1, ranks=16).bytes_per_s == chip_link(fast).bytes_per_s


def test_rings_of_one_machine_share_its_network() -> None:
    whole = network_link(EIGHT).bytes_per_s
    assert ring(EIGHT, inner=8, ranks=4).bytes_per_s == pytest.approx(whole / 8)
    assert ring(EIGHT, inner=2, ranks=64).bytes_per_s == pytest.approx(whole / 2)


def test_rdma_reaches_more_than_tcp() -> None:
    assert network_link(EIGHT).bytes_per_s > network_link(replace(EIGHT, rdma=False)).bytes_per_s


def test_unknown_rates_are_careful_and_say_so() -> None:
    unknown = Node(replace(H200, link="", link_bytes_per_s=None), 8, None, None, rdma=False)
    assert chip_link(unknown).estimated
    assert network_link(unknown).estimated
    assert not chip_link(EIGHT).estimated
    assert (
        chip_link(unknown).bytes_per_s
        < chip_link(replace(EIGHT, chip=replace(H200, link_bytes_per_s=31e9))).bytes_per_s
    )
    assert network_link(unknown).bytes_per_s < network_link(replace(unknown, network_bytes_per_s=1.3e9)).bytes_per_s


def test_bus_is_known_by_its_generation() -> None:
    rates = [
        chip_link(Node(replace(H200, link=f"PCIe{one}", link_bytes_per_s=None), 2, None, None, rdma=False))
        for one in "345"
    ]
    assert [link.estimated for link in rates] == [False, False, False]
    assert rates[0].bytes_per_s < rates[1].bytes_per_s < rates[2].bytes_per_s
