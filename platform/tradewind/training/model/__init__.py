"""One decoder for all families, its loss, its balance, and its adapters."""

from tradewind.training.model.decoder import Decoder
from tradewind.training.model.experts import update_balance
from tradewind.training.model.loss import linear_cross_entropy

__all__ = ["Decoder", "linear_cross_entropy", "update_balance"]
