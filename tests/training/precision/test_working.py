"""Copies of weights in the type that a step computes in."""

from __future__ import annotations

import torch

from tradewind.training.precision.working import held_copy, join_rows, working


def test_a_weight_of_the_asked_type_is_itself() -> None:
    weight = torch.nn.Parameter(torch.randn(3))
    assert working(weight, torch.float32).data_ptr() == weight.data_ptr()
    assert held_copy(weight) is None


def test_a_copy_stays_in_its_place_and_follows_changes_of_the_weight() -> None:
    weight = torch.nn.Parameter(torch.randn(3))
    first = working(weight, torch.bfloat16)
    assert working(weight, torch.bfloat16) is first
    with torch.no_grad():
        weight.mul_(2)
    assert held_copy(weight) is None
    assert working(weight, torch.bfloat16) is first
    assert torch.equal(first, weight.detach().bfloat16())


def test_joined_weights_lie_side_by_side_and_keep_their_values() -> None:
    a, b = torch.nn.Parameter(torch.randn(2, 3)), torch.nn.Parameter(torch.randn(4, 3))
    values = a.detach().clone(), b.detach().clone()
    join_rows(a, b)
    assert torch.equal(a, values[0])
    assert torch.equal(b, values[1])
    assert b.data_ptr() == a.data_ptr() + a.numel() * a.element_size()
