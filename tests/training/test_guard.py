"""Losses that jump."""

from __future__ import annotations

import math
import random

import pytest

from tradewind.specs import GuardSpec
from tradewind.training.guard import Guard

WINDOW = 8


@pytest.fixture
def guard() -> Guard:
    return Guard(GuardSpec(window=WINDOW, spike=6.0))


def calm(guard: Guard, *, seed: int = 7) -> None:
    noise = random.Random(seed)
    assert [guard.judge(3.0 + noise.gauss(0, 0.1), 1.0) for _ in range(WINDOW)] == [""] * WINDOW


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (3.0, math.nan), (3.0, math.inf)])
def test_what_is_no_number_is_a_fault_from_the_first_step(guard: Guard, loss: float, norm: float) -> None:
    assert any(word in guard.judge(loss, norm) for word in ("nan", "inf"))


def test_a_jump_is_told_with_its_size(guard: Guard) -> None:
    calm(guard)
    assert guard.judge(9.0, 1.0).startswith("the loss is 9.000, ")


def test_a_fall_is_no_fault(guard: Guard) -> None:
    calm(guard)
    assert guard.judge(0.1, 1.0) == ""


def test_nothing_is_a_jump_before_the_window_is_full(guard: Guard) -> None:
    assert [guard.judge(loss, 1.0) for loss in (3.0, 3.0, 30.0)] == ["", "", ""]


def test_losses_that_stand_still_may_move_a_little(guard: Guard) -> None:
    for _ in range(WINDOW):
        guard.judge(2.0, 1.0)
    assert guard.judge(2.1, 1.0) == ""


def test_losses_before_a_fault_are_forgotten(guard: Guard) -> None:
    calm(guard)
    assert guard.judge(9.0, 1.0)
    assert guard.judge(9.0, 1.0) == ""
