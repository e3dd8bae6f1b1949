"""The optimizer's passes over memory."""

from __future__ import annotations

import torch

from tradewind.training.kernels import adamw_, add_parts, scale_, squares
from tradewind.training.kernels.update import AdamWNumbers

NUMBERS = AdamWNumbers(learning_rate=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1, step=3)


def test_squares_are_summed_by_share() -> None:
    got = squares([torch.tensor([3.0, 4.0]), torch.tensor([[2.0]])], [1.0, 0.5])
    assert got == 27.0


def test_a_factor_that_is_not_finite_moves_nothing() -> None:
    held = [torch.ones(3), torch.ones(3), torch.ones(3)]
    adamw_(held[0], torch.ones(3), held[1], held[2], torch.tensor(torch.nan), NUMBERS)
    assert all(torch.equal(x, torch.ones(3)) for x in held)


def test_the_copy_is_the_moved_weight_in_its_own_type() -> None:
    weight, copy = torch.randn(5), torch.empty(5, dtype=torch.bfloat16)
    adamw_(weight, torch.ones(5), torch.zeros(5), torch.zeros(5), torch.ones(()), NUMBERS, copy)
    assert torch.equal(copy, weight.bfloat16())


def test_a_scale_is_not_rounded_to_the_tensors_type() -> None:
    x = torch.full((4,), 3.0, dtype=torch.bfloat16)
    factor = torch.tensor(1 / 3 + 1e-4)
    assert torch.equal(scale_(x.clone(), factor), (x.float() * factor).bfloat16())


def test_parts_are_added_in_float32() -> None:
    parts = torch.tensor([[256.0, 1.0], [1.0, 2.0], [1.0, 3.0]]).bfloat16()
    assert add_parts(parts, torch.empty(2)).tolist() == [258.0, 6.0]
    assert (parts[0] + parts[1] + parts[2])[0] == 256.0  # one after the other in bfloat16
