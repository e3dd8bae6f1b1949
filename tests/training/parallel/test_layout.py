from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.parallel.shapes import LLAMA, SHAPES
from tradewind.errors import SpecError
from tradewind.training.parallel.layout import Layout

WIDE = replace(LLAMA, heads=32, kv_heads=8, head_dim=128, hidden=4096, ffn=14336, layers=32, vocabulary=128256)


def test_shard_takes_what_is_left() -> None:
    assert Layout.of(64, tensor=4, pipeline=2, replicate=2).shard == 4


def test_without_axes_all_ranks_shard() -> None:
    assert Layout.of(3) == Layout(shard=3)


def test_zero_0_leaves_whole_weights_everywhere() -> None:
    assert Layout.of(8, tensor=2, zero=0) == Layout(replicate=4, tensor=2, zero=0)


def test_a_pipeline_gets_one_sequence_in_each_microbatch() -> None:
    assert Layout.of(8, pipeline=2, sequences=32).microbatches == 8


def test_ranks_that_differ_in_tensor_context_or_pipeline_read_the_same() -> None:
    layout = Layout(pipeline=2, replicate=2, shard=2, context=2, tensor=2)
    assert [layout.data_rank(place) for place in range(16)] == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    assert [layout.data_rank(place + 16) for place in range(16)] == [layout.data_rank(place) for place in range(16)]


def test_a_layout_says_what_it_is() -> None:
    assert str(Layout.of(16, pipeline=2, tensor=4, sequences=8)) == (
        "pipeline 2 × shard 2 × tensor 4, zero 3, 4 microbatches"
    )
    assert str(Layout()) == "one rank, zero 3"


@pytest.mark.parametrize(
    ("world", "axes", "message", "hint"),
    [
        (8, {"tensor": 3}, r"tensor 3 are 3 ranks, which do not divide the 8 there are", "workers: 9"),
        (8, {"tensor": 2, "shard": 2}, r"shard 2 × tensor 2 are 4 ranks, and there are 8", "shard: 4"),
        (7, {"tensor": 2, "shard": 2}, r"are 4 ranks, and there are 7", "use 4 ranks"),
        (4, {"tensor": 0}, "tensor 0 is no number of parts", "tensor: 1"),
        (4, {"shard": 4, "zero": 0}, "shard 4 with zero 0", "replicate: 4, or zero: 1"),
        (48, {"tensor": 16}, "tensor 16 does not divide kv_heads 8", "tensor: 8"),
        (48, {"tensor": 3}, "tensor 3 does not divide heads 32", "tensor: 2"),
        (64, {"pipeline": 64, "sequences": 64}, "64 stages .* for 32 layers", "pipeline: 32 or less"),
        (32, {"pipeline": 32, "schedule": "interleaved"}, "64 stages", "pipeline: 16 or less"),
        (4, {"schedule": "interleaved"}, "interleaved with pipeline 1", "1f1b"),
        (4, {"microbatches": 4}, "microbatches 4 with pipeline 1", "sequences_per_pass"),
        (8, {"pipeline": 4, "microbatches": 2}, "2 microbatches in a 1f1b pipeline of 4 stages", "microbatches: 4"),
        (8, {"pipeline": 4, "microbatches": 6, "schedule": "interleaved"}, "6 microbatches", "microbatches: 4"),
        (8, {"pipeline": 4, "microbatches": 5, "sequences": 12}, "with 6 sequences for each rank", "microbatches: 6"),
        (8, {"pipeline": 4, "sequences": 4}, "2 microbatches .* with 2 sequences", "at least 8 sequences"),
        (8, {"pipeline": 4, "sequences": 9}, "9 sequences in a pass", "batch.sequences: 8"),
        (8, {"context": 8, "tokens_per_sequence": 1000}, "1000 tokens in a sequence over context 8", ": 992"),
        (8, {"tensor": 8, "tokens_per_sequence": 4}, "4 tokens in a sequence over context 1 × tensor 8", ": 8"),
        (4, {"expert": 2}, "the model has no experts", "expert: 1"),
        (4, {"expert": 3}, "expert 3 does not divide shard 4 × context 1", "expert: 2"),
        (4, {"expert": 2, "zero": 0}, "expert 2 does not divide shard 1", "expert: 1"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(
    world: int, axes: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(SpecError, match=message) as refusal:
        Layout.of(world, shape=WIDE, **axes)
    assert hint in str(refusal.value.hint)


def test_routed_experts_are_laid_over_tensor_too() -> None:
    with pytest.raises(SpecError, match="expert 4 × tensor 4 does not divide 8 routed experts") as refusal:
        Layout.of(16, shape=replace(SHAPES["deepseek"], heads=4, kv_heads=4), expert=4, tensor=4)
    assert "expert: 2" in str(refusal.value.hint)


def test_a_tied_head_is_not_parted_from_its_embedding() -> None:
    with pytest.raises(SpecError, match="pipeline 2 puts embedding and output on different ranks"):
        Layout.of(4, shape=SHAPES["tied"], pipeline=2)


def test_a_batch_that_readers_share_unevenly_is_no_matter_without_a_pipeline() -> None:
    assert Layout.of(3, sequences=16).data_world == 3


@given(
    world=st.integers(1, 512),
    tensor=st.integers(1, 8),
    context=st.integers(1, 4),
    pipeline=st.integers(1, 4),
    replicate=st.integers(1, 4),
    expert=st.integers(1, 8),
)
def test_a_layout_has_all_ranks_or_is_refused_with_a_hint(world: int, **axes: int) -> None:
    try:
        layout = Layout.of(world, **axes)  # type: ignore[arg-type]
    except SpecError as refusal:
        assert refusal.hint  # noqa: PT017
        return
    assert layout.world == world
    assert {layout.data_rank(place) for place in range(world)} == set(range(layout.data_world))
