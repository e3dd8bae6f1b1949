from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planner.h200 import BY_ROWS, H200, LLAMA_1B, LLAMA_8B, ONE, ROWS, Row
from tradewind.catalog import Chip
from tradewind.errors import CapacityError
from tradewind.families import ModelShape
from tradewind.families.family import Experts, Latent
from tradewind.planner.layout import Layout, Recompute, TrainingSetup
from tradewind.planner.node import Node
from tradewind.planner.processor import processor_chip
from tradewind.planner.training_time import StepTime, training_hours, training_step
from tradewind.planner.work import TrainingWork

NODE = Node(H200, 8, None, 400e9, rdma=True)
H100 = replace(H200, name="H100-SXM", memory_bytes_per_s=3.35e12)
A100 = replace(
    H200,
    name="A100-SXM-80GB",
    flops={"bf16": 312e12},
    memory_bytes_per_s=2.039e12,
    link="NVLink3",
    link_bytes_per_s=300e9,
)
LATENT = ModelShape(
    "deepseek", 129280, 7168, 61, 128, 128, 192, 18432, 4096, tied=False,
    latent=Latent(1536, 512, 64, 128, 128), experts=Experts(256, 8, 1, 2048, 3),
)  # fmt: skip


def step(
    layout: Layout = ONE,
    *,
    shape: ModelShape = LLAMA_8B,
    micro_batch: int = 1,
    micro_batches: int = 1,
    recompute: Recompute = "none",
    length: int = 8192,
    node: Node = NODE,
    compiled: bool = True,
) -> StepTime:
    setup = TrainingSetup(layout, micro_batch, micro_batches, recompute)
    work = TrainingWork(shape, 1, setup.sequences, length)
    return training_step(work, setup, node, max(1, layout.chips // node.chips), compiled=compiled)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_h200_steps_are_predicted_within_15_percent_before_any_measurement(row: Row) -> None:
    assert row.predicted().tokens_per_s == pytest.approx(row.all_tokens_per_s, rel=0.15)


def test_scales_by_rows_are_not_modelled() -> None:
    assert 1.15 < BY_ROWS.predicted().tokens_per_s / BY_ROWS.all_tokens_per_s < 1.2


def test_parts_of_the_8b_step_are_those_of_its_profile() -> None:
    predicted = next(row for row in ROWS if row.name == "plain 8B").predicted()
    assert predicted.matmul_s == pytest.approx(0.5231, rel=0.05)
    assert predicted.attention_s == pytest.approx(0.1343, rel=0.05)
    assert predicted.memory_s == pytest.approx(0.0450 + 0.0426 + 0.0177 + 0.0090, rel=0.1)
    assert predicted.mfu == pytest.approx(0.615, rel=0.03)


def gpt(hidden: int, layers: int, heads: int) -> ModelShape:
    """With as many weights as a GPT of two products four times as wide."""
    return ModelShape("llama", 51200, hidden, layers, heads, heads, hidden // heads, hidden * 8 // 3, 2048, tied=True)


@pytest.mark.parametrize(
    ("shape", "length", "layout", "micro_batch", "micro_batches", "chip", "mfu"),
    [
        # Korthikanti et al. 2022, table 5: sequence parallelism, attention alone recomputed, pipeline interleaved.
        (gpt(6144, 48, 64), 2048, Layout(tensor=8), 4, 1, A100, 0.415),
        (gpt(12288, 96, 96), 2048, Layout(tensor=8, pipeline=8), 1, 64, A100, 0.514),
        # Llama Team 2024, "The Llama 3 herd of models", table 4: pipeline interleaved.
        (ModelShape("llama", 128256, 16384, 126, 128, 8, 128, 53248, 8192, tied=False), 8192,
         Layout(shard=64, tensor=8, pipeline=16), 1, 32, H100, 0.43),
    ],
    ids=["GPT 22B on 8 A100", "GPT 175B on 64 A100", "Llama 3 405B on 8192 H100"],
)  # fmt: skip
def test_published_runs_on_other_chips_are_predicted_within_a_fifth(
    shape: ModelShape, length: int, layout: Layout, micro_batch: int, micro_batches: int, chip: Chip, mfu: float
) -> None:
    node = Node(chip, 8, None, 400e9, rdma=True)
    setup = TrainingSetup(layout, micro_batch, micro_batches, zero=1)
    predicted = training_step(TrainingWork(shape, 1, setup.sequences, length), setup, node, layout.chips // 8)
    assert predicted.mfu == pytest.approx(mfu, rel=0.2)


def test_parts_add_up_and_give_the_rate() -> None:
    found = step(Layout(shard=4, tensor=2))
    parts = (found.matmul_s, found.attention_s, found.memory_s, found.communication_s, found.bubble_s, found.data_s)
    assert found.total_s == pytest.approx(sum(parts) + found.overhead_s)
    assert found.tokens_per_s == pytest.approx(4 * 8192 / found.total_s)


def test_what_is_computed_again_takes_time() -> None:
    assert step(recompute="none").total_s < step(recompute="selective").total_s < step(recompute="full").total_s


def test_eager_kernels_take_longer_and_products_do_not() -> None:
    compiled, eager = step(), step(compiled=False)
    assert eager.memory_s > compiled.memory_s
    assert eager.matmul_s == compiled.matmul_s


def test_bubble_of_a_pipeline_shrinks_with_its_micro_batches() -> None:
    shares = [step(Layout(pipeline=4), micro_batches=count) for count in (4, 8, 32)]
    assert [round(one.bubble_s / one.total_s, 2) for one in shares] == sorted(
        (round(one.bubble_s / one.total_s, 2) for one in shares), reverse=True
    )
    ideal = 3 / 32
    assert shares[-1].bubble_s / (shares[-1].matmul_s + shares[-1].attention_s) == pytest.approx(ideal, rel=0.15)
    assert step(Layout(shard=8)).bubble_s == 0.0


def test_gathers_of_sharded_weights_hide_inside_a_machine_and_not_behind_a_slow_network() -> None:
    near = step(Layout(shard=8))
    far = step(Layout(shard=16), node=replace(NODE, network_bytes_per_s=1.25e9, rdma=False))
    assert near.communication_s < 0.1 * near.total_s
    assert far.communication_s > far.matmul_s


def test_tensor_parallel_over_machines_waits_more_than_inside_one() -> None:
    inside, across = step(Layout(tensor=8)), step(Layout(tensor=16), node=replace(NODE, network_bytes_per_s=50e9))
    assert across.communication_s > 4 * inside.communication_s


def test_experts_cost_by_what_a_token_visits() -> None:
    experts = Experts(routed=64, active=4, shared=0, ffn=3584, dense_layers=0)
    sparse, dense = replace(LLAMA_8B, experts=experts), LLAMA_8B
    assert step(shape=sparse).matmul_s == pytest.approx(step(shape=dense).matmul_s, rel=0.35)
    more = replace(experts, active=8)
    assert step(shape=replace(sparse, experts=more)).matmul_s > 1.5 * step(shape=sparse).matmul_s


def test_experts_that_stay_on_their_chips_send_less_than_gathered_ones() -> None:
    shape = replace(LLAMA_1B, experts=Experts(routed=64, active=4, shared=1, ffn=1024, dense_layers=1))
    assert 0 < step(Layout(expert=8), shape=shape).communication_s < step(Layout(shard=8), shape=shape).communication_s


def test_latent_attention_and_many_experts_have_a_time() -> None:
    found = step(Layout(shard=4, expert=64, pipeline=8), shape=LATENT, micro_batches=64, length=4096)
    assert 0.1 < found.mfu < 0.6


def test_short_blocks_wait_for_the_host() -> None:
    tiny = ModelShape("llama", 1024, 64, 8, 4, 4, 16, 192, 128, tied=True)
    found = step(shape=tiny, length=128)
    assert found.overhead_s > found.matmul_s + found.attention_s + found.memory_s


def test_slow_readers_wait_for_their_tokens() -> None:
    tiny = ModelShape("llama", 1024, 64, 2, 4, 4, 16, 192, 8192, tied=True)
    slow = replace(NODE, network_bytes_per_s=1e6, rdma=False)
    assert step(shape=tiny, micro_batch=8, node=slow).data_s > 0
    assert step(shape=LLAMA_8B).data_s == 0.0


def test_unknown_links_are_named_where_they_are_used() -> None:
    unknown = Node(replace(H200, link="", link_bytes_per_s=None), 8, None, None, rdma=False)
    assert step(Layout(shard=16), node=unknown).assumptions
    assert step(node=unknown).assumptions == ()
    assert step(Layout(shard=16)).assumptions == ()


def test_chip_without_the_precision_is_refused_with_those_it_has() -> None:
    old = replace(H200, name="V100-SXM-32GB", flops={"fp16": 125e12})
    with pytest.raises(CapacityError, match=r"V100-SXM-32GB has no bf16 peak.*fp16"):
        step(node=replace(NODE, chip=old))


def test_chip_of_unknown_bandwidth_is_refused() -> None:
    with pytest.raises(CapacityError, match="bandwidth of A40's memory is not known"):
        step(node=replace(NODE, chip=replace(H200, name="A40", memory_bytes_per_s=None)))


@settings(max_examples=60, deadline=None)
@given(
    data=st.sampled_from([1, 2, 8, 64]),
    tensor=st.sampled_from([1, 2, 8]),
    pipeline=st.sampled_from([1, 2, 7]),
    context=st.sampled_from([1, 2]),
    shape=st.sampled_from([LLAMA_1B, LLAMA_8B, LATENT]),
    recompute=st.sampled_from(["none", "selective", "full"]),
    zero=st.sampled_from([1, 2, 3]),
)
def test_no_layout_has_a_negative_part_or_beats_the_peak(
    data: int, tensor: int, pipeline: int, context: int, shape: ModelShape, recompute: Recompute, zero: int
) -> None:
    layout = Layout(shard=data, tensor=tensor, pipeline=pipeline, context=context)
    setup = TrainingSetup(layout, 1, 4, recompute, {1: 1, 2: 2, 3: 3}[zero])  # type: ignore[arg-type]
    found = training_step(TrainingWork(shape, 1, setup.sequences, 8192), setup, NODE, -(-layout.chips // 8))
    parts = (found.matmul_s, found.attention_s, found.memory_s, found.communication_s, found.bubble_s, found.overhead_s)
    assert all(part >= 0 and math.isfinite(part) for part in parts)
    assert 0 < found.mfu < 1


@given(scale=st.floats(1.1, 10))
def test_faster_parts_of_a_chip_never_slow_it_down(scale: float) -> None:
    layout = Layout(shard=8, tensor=2)
    base = step(layout).total_s
    flops = {name: peak * scale for name, peak in H200.flops.items()}
    for chip in (replace(H200, flops=flops), replace(H200, memory_bytes_per_s=4.8e12 * scale),
                 replace(H200, link_bytes_per_s=450e9 * scale)):  # fmt: skip
        assert step(layout, node=replace(NODE, chip=chip)).total_s <= base
    assert step(layout, node=replace(NODE, network_bytes_per_s=400e9 * scale)).total_s <= base


def test_12b_model_on_a_terabyte_of_text_takes_35600_hours_of_an_a100() -> None:
    hours = training_hours(parameters=12e9, tokens=250e9, flops=312e12, mfu=0.45)
    assert hours == pytest.approx(35_600, rel=0.01)
    assert math.ceil(hours / 100) == pytest.approx(356, rel=0.01)
    assert training_hours(parameters=12e9, tokens=250e9, flops=312e12, mfu=0.35, chips=458) == pytest.approx(
        100, rel=0.01
    )


def test_100b_model_on_one_machine_takes_years() -> None:
    hours = training_hours(parameters=100e9, tokens=300e9, flops=312e12, mfu=0.4, chips=8)
    assert hours / 24 / 365 == pytest.approx(5.7, rel=0.01)


def test_small_model_on_two_processors_is_predicted_within_a_factor_of_two() -> None:
    """Measured: 34.8 k tokens/s, torch 2.13 on two virtual processors; most of its arrays fit into their caches."""
    shape = ModelShape("llama", 768, 128, 2, 4, 2, 32, 352, 128, tied=False)
    node = Node(processor_chip(2, 8 * 2**30), 1, 8 * 2**30, None, rdma=False)
    work = TrainingWork(shape, 1, 16, 128, "fp32")
    found = training_step(work, TrainingSetup(Layout(), 16, 1), node, 1)
    assert 0.5 < found.tokens_per_s / 34_800 < 1.0
