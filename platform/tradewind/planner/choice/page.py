"""A plan to look at: a picture of dollars against time, the front as a table, and why the others are not in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tradewind.planner.choice.front import pareto_front
from tradewind.planner.choice.words import (
    carbon_words,
    chips_words,
    machines_words,
    place_words,
    range_words,
)
from tradewind.records import Placement
from tradewind.reports import Part, Sheet, draw, render_sheet, style_axes
from tradewind.reports.drawing import FRAME
from tradewind.units import format_count, format_hours, format_usd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tradewind.planner.plan import Plan

COLOURS = {**FRAME, "--other": "#b9c4cf", "--front": "#0f7f92", "--best": "#d0591b"}
ROWS = 12
NAMED = 3
"""Points of the line that carry the name of their machines."""


def plan_page(plan: Plan) -> str:
    """One HTML page without outside parts."""
    best = plan.best
    front = plan.front[:ROWS]
    reasons = [(str(count), what) for what, count in plan.reasons.most_common(ROWS)]
    return render_sheet(
        Sheet(
            title=f"{machines_words(best)} at {place_words(best)}",
            kicker=f"plan · {plan.question.now:%Y-%m-%d}",
            headline=f"{range_words(best.hours, format_hours)} and {range_words(best.cost_usd, format_usd)}, "
            f"{best.basis}; the first of {format_count(plan.count)} candidates on {plan.num_possible} of "
            f"{len(plan.offers)} offers",
            tiles=_tiles(best),
            parts=[
                Part("Dollars against time", charts=[plan_chart(plan)]),
                Part("Nothing beats these in dollars, time and carbon at once", COLUMNS, [_row(one) for one in front]),
                Part("Why not the others", ("offers", "lack"), reasons),
                Part("Assumed", notes=plan.assumptions),
            ],
        )
    )


def plan_fragment(plan: Plan) -> str:
    """For a notebook: the picture and the first rows."""
    from html import escape

    head = "".join(f"<th>{escape(name)}</th>" for name in COLUMNS)
    rows = ("".join(f"<td>{escape(cell)}</td>" for cell in _row(one)) for one in plan.front[:ROWS])
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"{plan_chart(plan)}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def plan_chart(plan: Plan) -> str:
    """Each candidate as a dot, time and dollars on logarithmic axes; those that no other beats in the two as a line."""
    hours, dollars = plan.points()
    edge = pareto_front(np.column_stack((hours, dollars)))
    names = [plan.at(int(row)) for row in edge[np.unique(np.linspace(0, len(edge) - 1, NAMED).astype(int))]]
    best = plan.best

    def paint(axes: Axes) -> None:
        axes.scatter(hours, dollars, s=9, color=COLOURS["--other"], linewidths=0, label="candidates")
        line: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 1.2, "label": "none is faster and cheaper"}
        axes.plot(hours[edge], dollars[edge], color=COLOURS["--front"], **line)
        axes.plot([best.hours.value], [best.cost_usd.value], "D", color=COLOURS["--best"], markersize=8, label="best")
        style_axes(axes, x="time", y="dollars")
        for one in names:
            _name(axes, one)
        _scale(axes, hours, dollars)
        axes.legend(frameon=False, fontsize=12, labelcolor=FRAME["--ink"], loc="upper left")

    title = f"Dollars against time, {plan.count} candidates, best {best.offer}"
    return draw(paint, title=title, colours=COLOURS)


def _name(axes: Axes, one: Placement) -> None:
    """The machines of a point, below it and to its left, where no other candidate can be."""
    at = (one.hours.value, one.cost_usd.value)
    style: dict[str, Any] = {"fontsize": 11, "color": FRAME["--ink"], "va": "top", "ha": "center"}
    axes.annotate(machines_words(one), at, xytext=(0, -8), textcoords="offset points", **style)


def _scale(axes: Axes, hours: Any, dollars: Any) -> None:
    """Logarithmic where the values are, with the ticks that people count in."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    if hours.max() > 3 * hours.min() > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(TICKS_H))
        axes.xaxis.set_minor_locator(NullLocator())
    if dollars.max() > 3 * dollars.min() > 0:
        axes.set_yscale("log")
        axes.set_ylim(bottom=dollars.min() / 2)
        axes.yaxis.set_major_locator(LogLocator(10, subs=(1, 3)))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_hours(value)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_usd(value).removesuffix(".00")))


TICKS_H = (1 / 60, 1 / 6, 1, 3, 12, 48, 7 * 24, 30 * 24, 120 * 24, 365 * 24)
COLUMNS = ("where", "market", "machines", "chips", "time", "dollars", "$/M tokens", "kg CO2e")


def _row(one: Placement) -> tuple[str, ...]:
    return (
        place_words(one), one.market, machines_words(one), chips_words(one), format_hours(one.hours.value),
        format_usd(one.cost_usd.value), format_usd(one.usd_per_million_tokens), carbon_words(one),
    )  # fmt: skip


def _tiles(best: Placement) -> dict[str, str]:
    return {
        "dollars": format_usd(best.cost_usd.value),
        "time": format_hours(best.hours.value),
        "dollars a million tokens": format_usd(best.usd_per_million_tokens),
        "CO2 equivalents": "–" if best.carbon_kg is None else f"{best.carbon_kg:.3g} kg",
        "tokens a second": format_count(best.tokens_per_s.value),
    }
