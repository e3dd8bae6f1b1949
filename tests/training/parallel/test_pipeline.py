from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.training.parallel.shapes import LLAMA, SHAPES
from tradewind.families import known_model
from tradewind.training.parallel.layout import Layout
from tradewind.training.parallel.pipeline import cut_layers, stage_numbers


def test_the_stage_with_the_head_has_fewer_layers() -> None:
    assert cut_layers(known_model("llama-3.1-8b"), 2, tokens=8192) == [range(17), range(17, 32)]


def test_equal_layers_are_cut_evenly() -> None:
    shape = replace(LLAMA, layers=12, vocabulary=1)
    assert [len(layers) for layers in cut_layers(shape, 4, tokens=16)] == [3, 3, 3, 3]


def test_dense_layers_are_weighed_against_experts() -> None:
    layers = cut_layers(known_model("deepseek-v3"), 16, tokens=4096)
    assert max(len(some) for some in layers) - min(len(some) for some in layers) <= 2


@given(st.integers(1, 24), st.integers(1, 24), st.sampled_from(sorted(SHAPES)))
def test_every_layer_is_in_one_stage_and_no_stage_is_empty(layers: int, stages: int, family: str) -> None:
    shape = replace(SHAPES[family], layers=max(layers, stages))
    cut = cut_layers(shape, stages, tokens=64)
    assert len(cut) == stages
    assert all(cut)
    assert [layer for some in cut for layer in some] == list(range(shape.layers))


def test_interleaved_stages_of_a_rank_lie_a_round_apart() -> None:
    layout = Layout(pipeline=4, schedule="interleaved", microbatches=8)
    assert [stage_numbers(layout, rank) for rank in range(4)] == [[0, 4], [1, 5], [2, 6], [3, 7]]
