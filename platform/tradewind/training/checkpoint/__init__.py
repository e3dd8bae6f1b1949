"""Checkpoints: every rank writes its part straight to a store, and the record of the whole comes last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradewind.lazy import exports

if TYPE_CHECKING:
    from tradewind.training.checkpoint.checkpointer import Checkpointer
    from tradewind.training.checkpoint.entries import Refused, newest_whole
    from tradewind.training.checkpoint.newest import resume
    from tradewind.training.checkpoint.pruning import Keep, prune, remove_orphans
    from tradewind.training.checkpoint.reading import load
    from tradewind.training.checkpoint.state import TrainingState

__all__ = [
    "Checkpointer",
    "Keep",
    "Refused",
    "TrainingState",
    "load",
    "newest_whole",
    "prune",
    "remove_orphans",
    "resume",
]

__getattr__ = exports(
    __name__,
    {
        "Checkpointer": ".checkpointer",
        "Keep": ".pruning",
        "Refused": ".entries",
        "TrainingState": ".state",
        "load": ".reading",
        "newest_whole": ".entries",
        "prune": ".pruning",
        "remove_orphans": ".pruning",
        "resume": ".newest",
    },
)
