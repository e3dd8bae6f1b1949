"""One decoder for all families, its loss, its balance, and its adapters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradewind.lazy import exports

if TYPE_CHECKING:
    from tradewind.training.model.decoder import Decoder
    from tradewind.training.model.experts import update_balance
    from tradewind.training.model.loss import linear_cross_entropy

__all__ = ["Decoder", "linear_cross_entropy", "update_balance"]

__getattr__ = exports(__name__, {"Decoder": ".decoder", "linear_cross_entropy": ".loss", "update_balance": ".experts"})
