"""Reports: the story of one journey, from text to endpoint, as a page to read and as rows to print."""

from tradewind.reports.chart import loss_curve
from tradewind.reports.lineage import Link, lineage_of
from tradewind.reports.page import render
from tradewind.reports.story import Story
from tradewind.reports.usage import UsageRow, usage_rows

__all__ = ["Link", "Story", "UsageRow", "lineage_of", "loss_curve", "render", "usage_rows"]
