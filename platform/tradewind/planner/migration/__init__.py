"""Leaving one cloud, or one kind of chip, for another."""

from tradewind.planner.migration.migration import Bill, DataMove, Migration, estimate_migration
from tradewind.planner.migration.rules import Finding, Verdict
from tradewind.planner.migration.side import Side
from tradewind.planner.migration.wish import Wish

__all__ = ["Bill", "DataMove", "Finding", "Migration", "Side", "Verdict", "Wish", "estimate_migration"]
