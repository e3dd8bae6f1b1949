"""What really happened and what it took: metered work, written down as usage, summed, and held against budgets."""

from tradewind.ledger.budgets import Budget, Budgets
from tradewind.ledger.compaction import Compacted
from tradewind.ledger.grouping import AXES, Axis, UsageTable
from tradewind.ledger.ledger import Ledger
from tradewind.ledger.meter import Meter, effort
from tradewind.ledger.price import TokenPrice, token_price, window_usd
from tradewind.ledger.reconciliation import NodeHour, Reconciliation, reconcile
from tradewind.ledger.team import this_team
from tradewind.ledger.usage import node_usage, usage

__all__ = [
    "AXES",
    "Axis",
    "Budget",
    "Budgets",
    "Compacted",
    "Ledger",
    "Meter",
    "NodeHour",
    "Reconciliation",
    "TokenPrice",
    "UsageTable",
    "effort",
    "node_usage",
    "reconcile",
    "this_team",
    "token_price",
    "usage",
    "window_usd",
]
