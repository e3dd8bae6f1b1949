"""Conversations as tokens that say of themselves whether they are trained on."""

from tradewind.datasets.chat.marks import CONTEXT_BIT, END_BIT, split

__all__ = ["CONTEXT_BIT", "END_BIT", "split"]
