"""How a step computes: types of numbers, fused blocks, what is kept for the backward pass."""

from tradewind.training.precision.accelerated import Acceleration, accelerate, float8_refusal, settle
from tradewind.training.precision.working import held_copy, working

__all__ = ["Acceleration", "accelerate", "float8_refusal", "held_copy", "settle", "working"]
