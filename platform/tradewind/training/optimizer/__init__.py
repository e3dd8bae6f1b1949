"""Optimizers: AdamW at the speed of memory, and Muon for the matrices of blocks. Both clip while they step."""

from tradewind.training.optimizer.adamw import AdamW, total_norm
from tradewind.training.optimizer.muon import Muon

__all__ = ["AdamW", "Muon", "total_norm"]
