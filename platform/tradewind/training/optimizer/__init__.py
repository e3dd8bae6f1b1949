"""Optimizers: AdamW at the speed of memory, and Muon for the matrices of hidden layers."""

from tradewind.training.optimizer.adamw import AdamW

__all__ = ["AdamW"]
