"""Reports: the story of one journey, from text to endpoint, as a page to read and as rows to print."""

from tradewind.reports.chart import loss_curve
from tradewind.reports.drawing import draw, style_axes
from tradewind.reports.lineage import Link, lineage_of
from tradewind.reports.page import render
from tradewind.reports.sheet import Part, Sheet, render_sheet
from tradewind.reports.story import Story
from tradewind.reports.usage import UsageRow, usage_rows

__all__ = [
    "Link",
    "Part",
    "Sheet",
    "Story",
    "UsageRow",
    "draw",
    "lineage_of",
    "loss_curve",
    "render",
    "render_sheet",
    "style_axes",
    "usage_rows",
]
