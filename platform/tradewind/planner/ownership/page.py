"""The answer as a page: when the lines cross, what an hour of work costs, which input matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradewind.planner.ownership.answer import Answer
from tradewind.planner.ownership.comparison import Comparison, at_use, compare, curves
from tradewind.reports import Part, Sheet, draw, render_sheet, style_axes
from tradewind.reports.drawing import FRAME, ROUND
from tradewind.units import format_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {**FRAME, "--curve": "#0f7f92", "--heldout": "#d0591b", "--bigram": "#7a54b8"}
"""Buying, renting, and where they meet."""

BUY, RENT, MEET = COLOURS["--curve"], COLOURS["--heldout"], COLOURS["--bigram"]


def page(answer: Answer) -> str:
    """A page of HTML that needs nothing else."""
    found, question = answer.comparison, answer.question
    return render_sheet(
        Sheet(
            title=f"{question.nodes * question.gpus_per_node} {answer.chip.name}: buy or rent",
            kicker=f"tradewind · estimated · present values over {answer.case.terms.horizon_months:g} months "
            f"of {question.month[:-1]} hours",
            headline=verdict(found),
            tiles={
                "buying, in all": usd(found.buy_usd),
                "renting, in all": usd(found.rent_usd),
                "break-even": months(found),
                "same cost at a use of": threshold(found),
            },
            parts=[
                Part("Paid by then", charts=[break_even_chart(answer)], notes=notes(answer)),
                Part("An hour of work of one chip", charts=[use_chart(answer)]),
                _tornado(answer),
                _inputs(answer),
            ],
        )
    )


def charts(answer: Answer) -> list[str]:
    """Both pictures, for a notebook."""
    return [break_even_chart(answer), use_chart(answer)]


def notes(answer: Answer) -> list[str]:
    """What has to be known beside the figures: whether the model fits, and which inputs are doubtful."""
    return [*([str(answer.fit)] if answer.fit else []), *answer.warnings]


def break_even_chart(answer: Answer) -> str:
    """Dollars paid by each month, bought and rented."""
    points = curves(answer.case)
    at = answer.comparison.break_even_months

    def paint(axes: Axes) -> None:
        from matplotlib.ticker import FuncFormatter

        style_axes(axes, x="months", y="dollars paid by then")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"${format_count(value)}"))
        axes.plot([month for month, _, _ in points], [buy for _, buy, _ in points], color=BUY, lw=2.2, label="buying")
        axes.plot(
            [month for month, _, _ in points], [rent for _, _, rent in points], color=RENT, lw=2.2, label="renting"
        )
        if at is not None and at <= points[-1][0]:
            axes.axvline(at, color=MEET, lw=1.6, linestyle=(0, (5, 4)), label=f"break-even, month {at:.1f}")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=12, labelcolor=FRAME["--ink"])

    return draw(paint, title=f"Paid by month, break-even {months(answer.comparison)}", colours=COLOURS)


def use_chart(answer: Answer) -> str:
    """Dollars of an hour in which a chip works, over the share of its hours in which it does."""
    shares = [share / 100 for share in range(5, 101)]
    found = [compare(at_use(answer.case, share)) for share in shares]
    meet = answer.comparison.threshold

    def paint(axes: Axes) -> None:
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        style_axes(axes, x="use, share of all hours", y="dollars an hour of work")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=ROUND))
        axes.plot(shares, [one.buy_usd_per_gpu_hour or 0 for one in found], color=BUY, lw=2.2, label="buying")
        axes.plot(shares, [one.rent_usd_per_gpu_hour or 0 for one in found], color=RENT, lw=2.2, label="renting")
        if meet:
            label = f"the same at {meet.utilisation:.0%}"
            axes.axvline(meet.utilisation, color=MEET, lw=1.6, linestyle=(0, (5, 4)), label=label)
        axes.set_ylim(0, 6 * max(one.rent_usd_per_gpu_hour or 0 for one in found[-1:]) or None)
        axes.legend(frameon=False, fontsize=12, labelcolor=FRAME["--ink"])

    return draw(paint, title=f"Dollars an hour of work, the same at {threshold(answer.comparison)}", colours=COLOURS)


def verdict(found: Comparison) -> str:
    """The answer in a sentence."""
    cheaper = "buying" if found.answer == "buy" else "renting"
    return (
        f"At a use of {found.case.terms.utilisation:.0%}, {cheaper} is cheaper by {usd(abs(found.saving_usd))} "
        f"over {found.case.terms.horizon_months:g} months."
    )


def months(found: Comparison) -> str:
    """`month 14.2`, with what to think of it where that is late."""
    at = found.break_even_months
    if at is None:
        return "never"
    return f"month {at:.1f}" + ("" if found.pays_back else ", after the horizon")


def threshold(found: Comparison) -> str:
    """`39%`: above it buying is cheaper, unless something else is said."""
    if found.threshold is None:
        return f"none: {found.answer}ing wins at every use"
    return f"{found.threshold.utilisation:.0%}" + (", renting above" if found.threshold.above == "rent" else "")


def usd(amount: float) -> str:
    """`$1.23 M`; below a thousand with cents."""
    sign, size = ("-" if amount < 0 else ""), abs(amount)
    return f"{sign}${format_count(size)}" if size >= 1000 else f"{sign}${size:.2f}"


def _tornado(answer: Answer) -> Part:
    return Part(
        "What matters",
        ("input", "low", "high", "saving at low", "saving at high", "changes the answer"),
        [
            (bar.name, f"{bar.low:g}", f"{bar.high:g}", usd(bar.at_low.saving_usd), usd(bar.at_high.saving_usd),
             "yes" if bar.flips else "no")
            for bar in answer.bars
        ],
        notes=["Saving of buying over the horizon when one input alone takes the end of its range."],
    )  # fmt: skip


def _inputs(answer: Answer) -> Part:
    return Part(
        "Inputs",
        ("input", "value", "unit", "basis", "what", "from"),
        [(one.name, f"{one.value:g}", one.unit, one.basis, one.what, one.source) for one in answer.inputs.values()],
    )
