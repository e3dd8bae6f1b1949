from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests.training.model.shapes import SHAPES, ours, theirs, tokens
from tradewind.families import ModelShape, parameters
from tradewind.training.model import Decoder

shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())


def assert_same_logits(mine: Decoder, other: Any, shape: ModelShape) -> None:
    with torch.inference_mode():
        logits = mine(tokens(shape))
        assert logits.std() > 0.1
        torch.testing.assert_close(logits, other(input_ids=tokens(shape)).logits, atol=1e-4, rtol=1e-4)


@shapes
def test_our_weights_give_the_same_logits_in_transformers(shape: ModelShape) -> None:
    mine, other = ours(shape), theirs(shape)
    other.load_state_dict(mine.state_dict(), strict=True)
    assert_same_logits(mine, other, shape)


@shapes
def test_weights_of_transformers_give_the_same_logits_in_ours(shape: ModelShape) -> None:
    mine, other = Decoder(shape), theirs(shape)
    mine.load_state_dict(other.state_dict(), strict=True)
    assert_same_logits(mine, other, shape)


@shapes
def test_family_counts_the_weights_of_the_module(shape: ModelShape) -> None:
    assert parameters(shape) == sum(weight.numel() for weight in Decoder(shape).parameters())


@shapes
def test_what_comes_later_changes_nothing_before(shape: ModelShape) -> None:
    model, first = ours(shape), tokens(shape)
    second = first.clone()
    second[:, 20:] = (second[:, 20:] + 1) % shape.vocabulary
    with torch.inference_mode():
        before, after = model(first), model(second)
    torch.testing.assert_close(before[:, :20], after[:, :20], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(before[:, 20:], after[:, 20:], atol=1e-2)


def test_untrained_model_knows_nothing() -> None:
    shape = SHAPES["llama"]
    model = Decoder(shape)
    model.initialize(0)
    with torch.inference_mode():
        losses = torch.nn.functional.cross_entropy(model(tokens(shape)).flatten(0, 1), tokens(shape).flatten().roll(-1))
    assert losses.item() == pytest.approx(math.log(shape.vocabulary), rel=0.02)
