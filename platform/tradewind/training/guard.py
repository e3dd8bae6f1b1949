"""Watches the loss for jumps and for what is no number. All ranks see the same numbers and so say the same."""

from __future__ import annotations

import math
import statistics
from collections import deque

from tradewind.specs import GuardSpec

SMALLEST_DEVIATION = 0.01
"""Of the mean: a loss that hardly moves any more, as on few samples, is not taken for one that jumps."""


class Guard:
    """Knows the last losses. They are forgotten after a fault, since the weights are others then."""

    def __init__(self, spec: GuardSpec) -> None:
        self._spec = spec
        self._losses: deque[float] = deque(maxlen=spec.window)

    def judge(self, loss: float, grad_norm: float) -> str:
        """What is wrong with a step, in words; empty when nothing is."""
        fault = self._fault(loss, grad_norm)
        if fault:
            self._losses.clear()
        else:
            self._losses.append(loss)
        return fault

    def _fault(self, loss: float, grad_norm: float) -> str:
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(grad_norm):
            return f"the norm of the gradient is {grad_norm}"
        if len(self._losses) < self._spec.window:
            return ""
        mean = statistics.fmean(self._losses)
        deviation = max(statistics.pstdev(self._losses, mean), SMALLEST_DEVIATION * abs(mean))
        if loss <= mean + self._spec.spike * deviation:
            return ""
        return f"the loss is {loss:.3f}, {(loss - mean) / deviation:.0f} deviations above its mean of {mean:.3f}"
