"""Sweeps: which values of a training run are best, found on machines that may vanish, within a budget.

What is named here is loaded when it is used: slots and nurseries live in this package, and are light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradewind.lazy import exports

if TYPE_CHECKING:
    from tradewind.tuning.sweep import Sweep, Tuning, find, names
    from tradewind.tuning.work import TRAIN, Work

__all__ = ["TRAIN", "Sweep", "Tuning", "Work", "find", "names"]

__getattr__ = exports(
    __name__,
    {"Sweep": ".sweep", "Tuning": ".sweep", "find": ".sweep", "names": ".sweep", "TRAIN": ".work", "Work": ".work"},
)
