"""Where a step's time goes."""

from __future__ import annotations

import pytest
import torch

from tradewind.training.step_profile import EVERY, FIRST, is_due, kind_of, looking


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nccl:all_gather", "communication"),
        ("gloo:all_reduce", "communication"),
        ("aten::mm", "matrix products"),
        ("sm90_xmma_gemm_bf16", "matrix products"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
        ("aten::_fused_adamw_", "optimizer"),
        ("aten::silu", "other"),
    ],
)
def test_operations_are_told_apart_by_their_names(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_few_steps_are_looked_into() -> None:
    assert [step for step in range(1, 2 * EVERY + 1) if is_due(step)] == [FIRST, EVERY, 2 * EVERY]


def test_profile_has_the_time_of_what_ran_inside() -> None:
    matrix = torch.ones(200, 200)
    with looking(True) as profile:
        for _ in range(20):
            matrix = matrix @ matrix / 200
    assert profile.seconds["matrix products"] > 0
    assert profile.communication_s == 0.0


def test_nothing_is_known_of_a_step_that_was_not_looked_into() -> None:
    with looking(False) as profile:
        torch.ones(2) + 1
    assert profile.communication_s is None
