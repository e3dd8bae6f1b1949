from __future__ import annotations

from dataclasses import replace

import pytest

from tests.planner.h200 import LLAMA_1B, LLAMA_8B
from tradewind.families import ModelShape
from tradewind.families.family import Experts, Latent
from tradewind.families.sizes import active_parameters, embedding_parameters, parameters
from tradewind.planner.products import blocks, head

EXPERTS = Experts(routed=64, active=6, shared=2, ffn=1408, dense_layers=1)
SPARSE = replace(LLAMA_1B, experts=EXPERTS)
LATENT = ModelShape(
    "deepseek", 102400, 2048, 27, 16, 16, 192, 10944, 4096, tied=False,
    latent=Latent(None, 512, 64, 128, 128), experts=EXPERTS,
)  # fmt: skip
SHAPES = [LLAMA_8B, LLAMA_1B, SPARSE, LATENT]


def weights(shape: ModelShape, tensor: int = 1, expert: int = 1, *, visited: bool = False) -> float:
    """In matrices of the blocks and in the output matrix."""
    total = sum(
        block.layers * one.copies * one.inputs * one.outputs * (min(1.0, one.visits) if visited else 1.0)
        for block in blocks(shape, tensor, expert)
        for one in block.products
    )
    last = head(shape, tensor)
    return total + last.inputs * last.outputs


@pytest.mark.parametrize("shape", SHAPES)
def test_products_hold_all_weights_but_the_embedding_and_norms(shape: ModelShape) -> None:
    looked_up = embedding_parameters(shape) - shape.vocabulary * shape.hidden
    assert weights(shape) == pytest.approx(parameters(shape) - looked_up, rel=1e-3)
    assert weights(shape, visited=True) == pytest.approx(active_parameters(shape) - looked_up, rel=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_tensor_and_expert_axes_divide_the_weights(shape: ModelShape) -> None:
    assert weights(shape) / 4 <= weights(shape, tensor=4) < weights(shape) / 2.5
    if shape.experts:
        assert weights(shape, expert=8) < weights(shape) / 2


def test_experts_on_fewer_chips_are_visited_by_more_tokens_each() -> None:
    one, eight = (blocks(SPARSE, 1, expert)[1].products[-1] for expert in (1, 8))
    assert (one.copies, eight.copies) == (64, 8)
    assert one.copies * one.visits == pytest.approx(eight.copies * eight.visits) == pytest.approx(6)


def test_first_layers_may_be_dense() -> None:
    assert [block.layers for block in blocks(SPARSE, 1, 1)] == [1, 15]
    assert [block.layers for block in blocks(LLAMA_8B, 1, 1)] == [32]
