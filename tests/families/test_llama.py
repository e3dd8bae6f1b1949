from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.errors import SpecError
from tradewind.families import ModelShape, family
from tradewind.specs import TrainSpec
from tradewind.specs.train import ModelSpec


def shape_of(**model: object) -> ModelShape:
    spec = TrainSpec.of(name="pilot", dataset="logbook", model=model).model
    return family("llama").shape(spec, vocabulary=320, context=64)


def test_sizes_that_are_not_given_are_worked_out() -> None:
    assert shape_of(hidden=96, layers=2, heads=4) == ModelShape(
        family="llama", vocabulary=320, hidden=96, layers=2, heads=4, kv_heads=4, head_dim=24, ffn=256, context=64,
        tied=True,
    )  # fmt: skip


def test_sizes_that_are_given_are_taken() -> None:
    shape = shape_of(hidden=96, layers=2, heads=4, kv_heads=2, head_dim=32, ffn=72, tied=False)
    assert (shape.kv_heads, shape.head_dim, shape.ffn, shape.tied) == (2, 32, 72, False)


@given(st.integers(8, 10_000))
def test_feed_forward_is_eight_thirds_of_the_width_up_to_a_32(width: int) -> None:
    ffn = family("llama").shape(ModelSpec(hidden=width, heads=1, head_dim=8), vocabulary=1, context=1).ffn
    assert ffn % 32 == 0
    assert 0 <= ffn - width * 8 / 3 < 32


@pytest.mark.parametrize("block", ["latent", "experts"])
def test_blocks_of_other_families_are_refused(block: str) -> None:
    sizes = {
        "latent": {"rank": 16, "rope_dim": 8, "plain_dim": 16, "value_dim": 16},
        "experts": {"routed": 4, "active": 2, "ffn": 64},
    }
    with pytest.raises(SpecError, match=f"model.{block} is given, and family 'llama' has none"):
        shape_of(**{block: sizes[block]})
