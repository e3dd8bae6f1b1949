"""Checkpoints: every rank writes its part straight to a store, and the record of the whole comes last."""

from tradewind.training.checkpoint.checkpointer import Checkpointer
from tradewind.training.checkpoint.newest import Refused, newest_whole, resume
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
