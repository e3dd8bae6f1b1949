"""How the learning rate goes over a run: up in a line, then by the schedule, over steps or time."""

from __future__ import annotations

import math

from tradewind.specs import OptimizerSpec

FALLS_FOR = 0.2
"""Last part of a run in which `wsd` falls; 10 to 20 % do as well as a cosine (Hägele et al. 2024, section 3)."""
COSINE_ENDS_AT = 0.1
"""Of the highest rate (Hoffmann et al. 2022, appendix B)."""


def learning_rate(optimizer: OptimizerSpec, *, step: int, done: float) -> float:
    """The rate of step `step`, counted from 1, when a share `done` of the run, 0 to 1, lies behind it."""
    warm = min(1.0, step / max(1, optimizer.warmup_steps))
    return optimizer.learning_rate * warm * SCHEDULES[optimizer.schedule](done)


def _linear(done: float) -> float:
    return 1.0 - done


def _cosine(done: float) -> float:
    return COSINE_ENDS_AT + (1.0 - COSINE_ENDS_AT) * (1.0 + math.cos(math.pi * done)) / 2


def _warm_stable_decay(done: float) -> float:
    """Constant, then 1 minus the root of the share of the fall, as Hägele et al. 2024 found best (section 4.2)."""
    falling = max(0.0, (done - (1.0 - FALLS_FOR)) / FALLS_FOR)
    return 1.0 - math.sqrt(min(1.0, falling))


def _constant(done: float) -> float:  # noqa: ARG001
    return 1.0


SCHEDULES = {"linear": _linear, "cosine": _cosine, "wsd": _warm_stable_decay, "constant": _constant}
