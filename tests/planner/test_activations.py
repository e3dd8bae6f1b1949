from __future__ import annotations

import pytest

from tradewind.families import known_model
from tradewind.planner.activations import BlockActivations, block_activations
from tradewind.planner.layout import Recompute
from tradewind.planner.trainer import Trainer

LLAMA = known_model("llama-3.1-8b")


def block(
    model: str = "llama-3.1-8b",
    recompute: Recompute = "none",
    trainer: Trainer = Trainer(),  # noqa: B008 - frozen
    *,
    fp8: bool = False,
    experts: bool = False,
) -> BlockActivations:
    return block_activations(known_model(model), trainer, recompute, each=2, sums=2, fp8=fp8, experts=experts)


def test_compiled_block_keeps_what_was_fitted_on_an_h200() -> None:
    """One sequence of 8192 more took 36.9 GiB in 32 blocks, 0.9 of them for a part of its logits: 147 kB a token."""
    assert block().kept == pytest.approx(141e3, rel=0.05)


def test_eager_plain_block_keeps_widths_in_float32() -> None:
    """Six of the stream, four of the feed-forward, queries, keys, values, the result and some statistics."""
    widths = 6 * 4096 + 4 * 14336 + 2 * 4096 + 2 * 1024
    kept = block_activations(LLAMA, Trainer("plain", "full"), "none", each=4, sums=4, fp8=False, experts=False).kept
    assert kept == 4 * widths + 4 * (32 + 2)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "qwen3-8b", "deepseek-v3", "qwen3-30b-a3b"])
def test_recomputing_more_keeps_less(model: str) -> None:
    experts = known_model(model).experts is not None
    kept = [block(model, recompute, experts=experts) for recompute in ("none", "selective", "full")]
    assert kept[0].kept > kept[1].kept > kept[2].kept == 2 * known_model(model).hidden
    assert {one.whole for one in kept} == {kept[0].kept}


def test_autocast_keeps_sums_in_float32_and_a_copy_for_each_matrix() -> None:
    eager = Trainer("fused", "full", "operations")
    cast, pure = (
        block_activations(LLAMA, eager, "none", each=2, sums=sums, fp8=False, experts=False).kept for sums in (4, 2)
    )
    assert cast - pure == 4096 * (2 * 2 + 3 * 2)


def test_eight_bits_keep_less() -> None:
    assert block(fp8=True).kept < 0.7 * block().kept


def test_token_keeps_what_its_experts_keep() -> None:
    dense, sparse = block("deepseek-v3"), block("deepseek-v3", experts=True)
    assert sparse.kept != dense.kept
    assert block("llama-3.1-8b", experts=True) == block("llama-3.1-8b")
