from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.planner.h200 import H200, LLAMA_8B
from tradewind.planner.exchange import Exchange, exchange
from tradewind.planner.layout import Layout, TrainingSetup
from tradewind.planner.node import Node
from tradewind.planner.pass_time import PassTime
from tradewind.planner.work import TrainingWork

NODE = Node(H200, 8, None, 400e9, rdma=True)
SLOW = replace(NODE, network_bytes_per_s=1e9)
LONG = PassTime(forward_s=30.0, matmul_s=80.0, attention_s=10.0, memory_s=10.0, head_matmul_s=1.0, head_memory_s=0.1)
NOTHING = PassTime(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def exchanged(layout: Layout, computed: PassTime = LONG, node: Node = NODE, **settings: Any) -> Exchange:
    setup = TrainingSetup(layout, **{"micro_batch": 1, "micro_batches": 1, **settings})
    return exchange(TrainingWork(LLAMA_8B, 1, setup.sequences, 8192), setup, node, computed)


def test_one_chip_exchanges_nothing() -> None:
    assert exchanged(Layout()).total_s == 0.0


@pytest.mark.parametrize("zero", [1, 2, 3])
def test_sharded_weights_hide_behind_long_kernels_at_a_small_loss(zero: int) -> None:
    found = exchanged(Layout(shard=8), zero=zero)
    assert found.waited_s == 0.0
    assert 0 < found.lost_s < 0.1


@pytest.mark.parametrize("layout", [Layout(shard=8), Layout(replicate=8), Layout(expert=8), Layout(context=8)])
def test_nothing_hides_behind_no_kernels(layout: Layout) -> None:
    found = exchanged(layout, NOTHING)
    assert found.waited_s > 0.0
    assert found.lost_s == 0.0


@pytest.mark.parametrize("layout", [Layout(tensor=8), Layout(pipeline=8)])
def test_exchanges_between_products_never_hide(layout: Layout) -> None:
    assert exchanged(layout).waited_s == exchanged(layout, NOTHING).waited_s > 0


def test_gathers_of_each_pass_cost_more_than_one_at_the_end() -> None:
    often = exchanged(Layout(shard=16), NOTHING, SLOW, micro_batches=8, zero=3).waited_s
    once = exchanged(Layout(shard=16), NOTHING, SLOW, micro_batches=8, zero=1).waited_s
    assert often > 7 * once


def test_replicas_over_machines_send_less_than_shards_over_machines() -> None:
    hybrid = exchanged(Layout(replicate=2, shard=8), NOTHING, SLOW).waited_s
    flat = exchanged(Layout(shard=16), NOTHING, SLOW).waited_s
    assert hybrid < flat / 2
