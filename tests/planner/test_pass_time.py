from __future__ import annotations

from dataclasses import replace

import pytest

from tests.planner.h200 import H200, LLAMA_8B
from tradewind.catalog.chip import Precision
from tradewind.families import ModelShape
from tradewind.planner.efficiency import chip_speed
from tradewind.planner.layout import Recompute
from tradewind.planner.pass_time import PassTime, pass_time


def timed(
    *,
    shape: ModelShape = LLAMA_8B,
    precision: Precision = "bf16",
    sequences: int = 1,
    length: int = 8192,
    tensor: int = 1,
    context: int = 1,
    recompute: Recompute = "none",
    compiled: bool = True,
) -> PassTime:
    return pass_time(
        shape,
        chip_speed(H200, precision),
        precision,
        sequences=sequences,
        length=length,
        tensor=tensor,
        context=context,
        expert=1,
        recompute=recompute,
        compiled=compiled,
    )


def test_kernels_of_the_8b_step_in_8_bits_are_those_of_its_profile() -> None:
    """Measured: 284.1 ms of products with the head in 16 bits, 137.5 ms of casts and what is between products."""
    found = timed(precision="fp8")
    assert found.matmul_s + found.head_matmul_s == pytest.approx(0.2841, rel=0.05)
    assert found.memory_s + found.head_memory_s == pytest.approx(0.1375, rel=0.05)


def test_twice_the_sequences_take_twice_the_time() -> None:
    assert timed(sequences=2).blocks_s == pytest.approx(2 * timed().blocks_s, rel=0.01)


def test_attention_grows_with_the_square_of_a_sequence() -> None:
    assert timed(length=32768).attention_s > 12 * timed().attention_s
    assert timed(length=32768).matmul_s == pytest.approx(4 * timed().matmul_s, rel=0.02)


@pytest.mark.parametrize("axis", ["tensor", "context"])
def test_axes_divide_the_work_with_some_loss(axis: str) -> None:
    whole, part = timed(), timed(tensor=4) if axis == "tensor" else timed(context=4)
    assert whole.blocks_s / 4 <= part.blocks_s < whole.blocks_s / 3.5


def test_full_recomputation_repeats_all_but_the_last_product() -> None:
    plain, full = timed(), timed(recompute="full")
    again = full.matmul_s - plain.matmul_s
    assert 0.6 * plain.matmul_s / 3 < again < 0.8 * plain.matmul_s / 3
    assert full.attention_s == pytest.approx(plain.attention_s * 4.5 / 3.5)


def test_selective_recomputation_repeats_no_attention() -> None:
    assert timed(recompute="selective").attention_s == timed().attention_s
    assert timed(recompute="selective").matmul_s > timed().matmul_s


def test_head_costs_by_the_vocabulary() -> None:
    wide = timed(shape=replace(LLAMA_8B, vocabulary=2 * LLAMA_8B.vocabulary))
    assert wide.head_s == pytest.approx(2 * timed().head_s, rel=0.01)
    assert wide.blocks_s == timed().blocks_s
