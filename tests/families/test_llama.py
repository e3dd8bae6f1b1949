from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.errors import NotFoundError
from tradewind.families import FAMILIES, ModelShape, family
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
    shape = shape_of(hidden=96, layers=2, heads=4, kv_heads=2, ffn=72, tied=False)
    assert (shape.kv_heads, shape.ffn, shape.tied) == (2, 72, False)


@given(st.integers(8, 10_000))
def test_feed_forward_is_eight_thirds_of_the_width_up_to_a_32(width: int) -> None:
    ffn = family("llama").shape(ModelSpec.model_construct(hidden=width), vocabulary=1, context=1).ffn
    assert ffn % 32 == 0
    assert 0 <= ffn - width * 8 / 3 < 32


def test_parameters_of_a_known_model() -> None:
    """Llama 2 7B has 6 738 415 616 weights (its `model.safetensors.index.json` says 13 476 831 232 bytes in bf16)."""
    shape = ModelShape("llama", 32000, 4096, 32, 32, 32, 128, 11008, 4096, tied=False)
    assert family("llama").parameters(shape) == 6_738_415_616


def test_parameters_of_a_known_model_with_grouped_queries_and_tied_embeddings() -> None:
    """Llama 3.2 1B: 1 235 814 400 weights, 1.24 B in its model card."""
    shape = ModelShape("llama", 128256, 2048, 16, 32, 8, 64, 8192, 131072, tied=True)
    assert family("llama").parameters(shape) == 1_235_814_400


def test_unknown_family_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"no family named 'lama' \(did you mean 'llama'\?\)"):
        family("lama")


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_counts_what_hugging_face_builds(name: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    build: Any = AutoModelForCausalLM.from_config
    made = family(name)
    for tied in (True, False):
        spec = TrainSpec.of(name="pilot", dataset="logbook", model={"family": name, "tied": tied, "kv_heads": 2}).model
        shape = made.shape(spec, vocabulary=320, context=64)
        config = made.hugging_face_config(shape)
        with torch.device("meta"):
            theirs = build(AutoConfig.for_model(**{key: config[key] for key in config if key != "torch_dtype"}))
        assert made.parameters(shape) == sum(weight.numel() for weight in theirs.parameters())
