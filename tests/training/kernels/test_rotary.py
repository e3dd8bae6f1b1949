"""Rotary positions on joined projections, against the model's own."""

from __future__ import annotations

import torch

from tradewind.training.kernels import join_turned_back, turn_
from tradewind.training.model.rotary import rotate

TIME, HEADS, PAIRS, DIM = 6, 4, 2, 8


def tables() -> tuple[torch.Tensor, torch.Tensor]:
    angles = torch.randn(TIME, DIM // 2, generator=torch.Generator().manual_seed(1)).repeat(1, 2)
    return angles.cos(), angles.sin()


def test_queries_and_keys_turn_as_in_the_model_and_values_do_not() -> None:
    cos, sin = tables()
    joined = torch.randn(2 * TIME, (HEADS + 2 * PAIRS) * DIM, generator=torch.Generator().manual_seed(0))
    before = joined.clone().view(2, TIME, -1, DIM).transpose(1, 2)
    turn_(joined, cos, sin, HEADS + PAIRS)
    after = joined.view(2, TIME, -1, DIM).transpose(1, 2)
    turned = HEADS + PAIRS
    torch.testing.assert_close(after[:, :turned], rotate(before[:, :turned], cos, sin))
    assert torch.equal(after[:, turned:], before[:, turned:])


def test_gradients_are_turned_back_and_joined() -> None:
    cos, sin = tables()
    joined = torch.randn(TIME, (HEADS + 2 * PAIRS) * DIM, generator=torch.Generator().manual_seed(0))
    turned = joined.clone()
    turn_(turned, cos, sin, HEADS + PAIRS)
    q, k, v = torch.split(turned.view(TIME, -1, DIM), [HEADS, PAIRS, PAIRS], dim=1)
    largest = torch.zeros(())
    torch.testing.assert_close(join_turned_back(q, k, v, cos, sin, largest), joined)
    torch.testing.assert_close(largest, joined.abs().max())
