from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planner.h200 import H200
from tradewind.errors import CapacityError
from tradewind.planner.efficiency import attention_s, chip_speed, matmul_s, peak_flops, plain_precision

SPEED = chip_speed(H200, "bf16")


def seconds(tokens: float, inputs: int, outputs: int) -> float:
    return matmul_s(tokens, inputs, outputs, flops=SPEED.matmul_flops, bits=16, speed=SPEED)


def attention_flops(head_dim: int, tokens: int) -> float:
    return 1e15 / attention_s(1e15, head_dim=head_dim, tokens=tokens, speed=SPEED)


def test_large_products_reach_what_was_measured() -> None:
    """705 TFLOP/s over the products of an 8B step, 685 sustained at 8192³; 1394 in fp8."""
    assert 2 * 8192 * 4096 * 14336 / seconds(8192, 4096, 14336) == pytest.approx(705e12, rel=0.03)
    assert chip_speed(H200, "fp8").matmul_flops == pytest.approx(1394e12, rel=0.04)


def test_attention_reaches_what_was_measured() -> None:
    """458 and 372 TFLOP/s in the 8B and the 1B step at 8192 tokens; 501 against 431 alone at 8192 and at 4096."""
    assert attention_flops(128, 8192) == pytest.approx(458e12, rel=0.03)
    assert attention_flops(64, 8192) == pytest.approx(372e12, rel=0.03)
    assert attention_flops(128, 4096) / attention_flops(128, 8192) == pytest.approx(431 / 501, rel=0.03)


def test_few_tokens_take_as_long_as_reading_the_weights() -> None:
    read_s = 4096 * 14336 * 2 / SPEED.stream_bytes_per_s
    assert seconds(1, 4096, 14336) == pytest.approx(read_s, rel=0.01)
    assert seconds(32, 4096, 14336) == pytest.approx(read_s, rel=0.02)


@given(tokens=st.floats(0, 1e6), inputs=st.integers(1, 65536), outputs=st.integers(1, 65536))
def test_products_are_never_faster_than_arithmetic_or_memory(tokens: float, inputs: int, outputs: int) -> None:
    found = seconds(tokens, inputs, outputs)
    assert found >= 2 * tokens * inputs * outputs / 989e12
    assert found >= 2 * inputs * outputs / 4.8e12


def test_shares_go_over_to_other_chips_with_their_own_figures() -> None:
    twice = replace(H200, name="H300", flops={"bf16": 2 * 989e12}, memory_bytes_per_s=9.6e12)
    assert chip_speed(twice, "bf16").matmul_flops == pytest.approx(2 * SPEED.matmul_flops)
    assert chip_speed(twice, "bf16").stream_bytes_per_s == pytest.approx(2 * SPEED.stream_bytes_per_s)


def test_chips_that_others_measured_reach_their_own_share() -> None:
    shares = [
        chip_speed(replace(H200, name=name), "bf16").matmul_flops for name in ("MI300X", "H200-SXM", "A100-SXM-80GB")
    ]
    assert shares == sorted(shares)
    assert shares[0] < 0.8 * shares[1]


def test_processors_reach_other_shares() -> None:
    cpu = replace(H200, name="cpu", kind="cpu", flops={"fp32": 1e12}, memory_bytes_per_s=50e9)
    assert chip_speed(cpu, "fp32").is_cpu
    assert chip_speed(cpu, "fp32").attention_flops < chip_speed(cpu, "fp32").matmul_flops <= 1e12


def test_products_in_8_bits_keep_attention_in_16() -> None:
    assert plain_precision(H200, "fp8") == "bf16"
    assert chip_speed(H200, "fp8").attention_flops == SPEED.attention_flops


def test_unknown_peak_names_those_that_are_known() -> None:
    with pytest.raises(CapacityError, match=r"H200-SXM has no int4 peak"):
        peak_flops(H200, "int4")
