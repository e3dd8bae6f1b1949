"""What is kept for the backward pass."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tradewind.families import known_model
from tradewind.training.memory_policy import Activations, Work, activations_that_fit, kept_bytes

WORK = Work(known_model("llama-3.1-8b"), layers=32, tokens=8192, fused=True)
GIB = 1 << 30
ORDER: list[Activations] = ["none", "selective", "full"]


def test_fused_blocks_of_an_8b_model_keep_27_gib_for_8192_tokens() -> None:
    assert round(kept_bytes(WORK, "none") / GIB) == 27
    assert round(kept_bytes(replace(WORK, float8=True), "none") / GIB) == 25


def test_the_8b_model_in_bfloat16_keeps_all_on_an_h200_and_recomputes_on_an_h100() -> None:
    states = 6 * 8_030_261_248
    assert activations_that_fit(WORK, memory_bytes=139 * GIB, states_bytes=states) == "none"
    assert activations_that_fit(WORK, memory_bytes=79 * GIB, states_bytes=states) == "selective"


@given(st.integers(20, 200), st.integers(20, 200))
def test_more_memory_never_means_more_recomputation(a: int, b: int) -> None:
    small, large = sorted((a, b))
    choices = [activations_that_fit(WORK, memory_bytes=size * GIB, states_bytes=30 * GIB) for size in (small, large)]
    assert ORDER.index(choices[1]) <= ORDER.index(choices[0])


def test_blocks_left_to_the_compiler_are_estimated_as_the_planner_does() -> None:
    compiled = replace(WORK, fused=False)
    assert kept_bytes(compiled, "none") > kept_bytes(compiled, "selective") > kept_bytes(compiled, "full")
