"""Sweeps: which values of a training run are best, found on machines that may vanish, within a budget.

What is named here is loaded when it is used: slots and nurseries live in this package, and are light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradewind.tuning.sweep import Sweep, Tuning, find, names
    from tradewind.tuning.work import TRAIN, Work

_PLACES = {"Sweep": "sweep", "Tuning": "sweep", "find": "sweep", "names": "sweep", "TRAIN": "work", "Work": "work"}

__all__ = ["TRAIN", "Sweep", "Tuning", "Work", "find", "names"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
