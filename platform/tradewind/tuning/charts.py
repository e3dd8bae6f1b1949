"""Pictures of a sweep: parallel coordinates, importance, learning curves, cost against quality, the best so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tradewind.reports import draw, style_axes
from tradewind.reports.drawing import FRAME
from tradewind.specs.tune import RangeSpec, same
from tradewind.tuning.standing import Point, Standing, TrialStanding, changed_keys
from tradewind.tuning.table import format_value, objective_words, shorten
from tradewind.units import format_seconds, format_usd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    **FRAME,
    "--other": "#b9c4cf",
    "--curve": "#0f7f92",
    "--heldout": "#d0591b",
    "--bigram": "#7a54b8",
    "--card": "#fefefe",
}
"""Other trials, good ones, the best, a limit, and what is behind words."""
OTHER, GOOD, BEST, LIMIT, BEHIND = list(COLOURS.values())[len(FRAME) :]
BUDGET_IN_SIGHT = 2.5
"""Up to so many times what was spent, the budget is drawn: farther away it would press the curve to the side."""
GOOD_SHARE = 0.25
"""Of the trials, the best ones that are drawn in a colour of their own."""
LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 12, "labelcolor": FRAME["--ink"]}


def parallel_coordinates(standing: Standing) -> str:
    """Each trial as a line through its values and its objective, the better end of which is at the top."""
    told = [one for one in reversed(standing.ranked) if standing.objective(one) is not None]
    scales = [_Scale.of(key, standing.spec.space[key]) for key in changed_keys(told) if key in standing.spec.space]
    values = [standing.objective(one) or 0.0 for one in told]
    last = _Scale.of_objective(objective_words(standing), values, minimize=standing.minimizes)

    def paint(axes: Axes) -> None:
        for trial, value in zip(told, values, strict=True):
            heights = [scale.at(trial.values.get(scale.key)) for scale in scales] + [last.at(value)]
            axes.plot(range(len(heights)), heights, **_line(standing, trial), solid_capstyle="round")
        _draw_scales(axes, [*scales, last])

    title = f"Parallel coordinates of {len(told)} trials"
    return draw(paint, title=title, colours=COLOURS, height_px=380)


def importance_chart(shares: Mapping[str, float]) -> str:
    """A bar for each parameter."""
    names, lengths = [shorten(key) for key in shares][::-1], list(shares.values())[::-1]

    def paint(axes: Axes) -> None:
        style_axes(axes, x="", y="")
        axes.grid(visible=False)
        bars = axes.barh(range(len(names)), lengths, color=GOOD, height=0.6)
        axes.set_yticks(range(len(names)), names)
        axes.bar_label(bars, [f"{share:.0%}" for share in lengths], padding=6, color=FRAME["--ink"], fontsize=12)
        axes.set_xlim(0, max(lengths) * 1.1)
        axes.set_xticks([])

    title = "Importance, " + ", ".join(f"{shorten(key)} {share:.0%}" for key, share in shares.items())
    return draw(paint, title=title, colours=COLOURS, height_px=60 + 34 * len(names))


def learning_curves(standing: Standing) -> str:
    """The objective of each trial over its steps."""
    told = [one for one in reversed(standing.ranked) if any(math.isfinite(point.objective) for point in one.points)]

    def paint(axes: Axes) -> None:
        style_axes(axes, x="step", y=objective_words(standing))
        for trial in told:
            points = [point for point in trial.points if math.isfinite(point.objective)]
            line = _line(standing, trial)
            mark = {"marker": "o", "markersize": 3} if len(points) > 1 or line["color"] == BEST else {"marker": "."}
            axes.plot([one.step for one in points], [one.objective for one in points], **line, **mark)
        _bound(axes, [point.objective for trial in told for point in trial.points])
        axes.legend(**LEGEND, **_handles(standing))

    return draw(paint, title=f"Learning curves of {len(told)} trials", colours=COLOURS)


def cost_chart(standing: Standing) -> str:
    """Each checkpoint of each trial: what the trial had taken by then, and how good it was; and what none beats."""
    spent = _Spent.of(standing)
    points = [
        (spent.of_point(point), point.objective, trial.number)
        for trial in standing.trials
        for point in trial.points
        if math.isfinite(point.objective)
    ]
    front = _front([(cost, value) for cost, value, _ in points], minimize=standing.minimizes)
    best = standing.best

    def paint(axes: Axes) -> None:
        style_axes(axes, x=f"{spent.word} of one trial", y=objective_words(standing))
        axes.scatter(
            [cost for cost, _, _ in points], [value for _, value, _ in points], s=14, color=OTHER, linewidths=0,
            label="checkpoints of trials",
        )  # fmt: skip
        line: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 1.4, "drawstyle": "steps-post"}
        axes.plot(*zip(*front, strict=True), color=GOOD, label="none is cheaper and better", **line)
        if best and best.points:
            at = min(best.points, key=lambda one: abs(one.objective - (standing.objective(best) or 0.0)))
            axes.plot([spent.of_point(at)], [at.objective], "D", color=BEST, markersize=8, label="best")
        _bound(axes, [value for _, value, _ in points])
        spent.scale(axes)
        axes.legend(**LEGEND)

    return draw(paint, title=f"Quality against {spent.word}, {len(points)} checkpoints", colours=COLOURS)


def best_so_far(standing: Standing) -> str:
    """The best objective over all that the sweep had taken by then: what less money would have found."""
    spent = _Spent.of(standing)
    steps = anytime(standing)

    def paint(axes: Axes) -> None:
        style_axes(axes, x=f"{spent.word} of the sweep", y=f"best {objective_words(standing)}")
        line: dict[str, Any] = {"linewidth": 2.2, "drawstyle": "steps-post", "label": "best so far"}
        axes.plot([cost for cost, _ in steps], [value for _, value in steps], color=GOOD, **line)
        limit = standing.spec.budget_usd
        if limit and spent.is_dollars and limit < BUDGET_IN_SIGHT * standing.usd:
            axes.axvline(limit, color=LIMIT, linewidth=1.6, linestyle=(0, (5, 4)), label=f"budget {format_usd(limit)}")
        spent.scale(axes)
        axes.legend(**LEGEND)

    return draw(paint, title=f"Best so far against {spent.word}", colours=COLOURS)


def anytime(standing: Standing) -> list[tuple[float, float]]:
    """What the sweep had taken, in dollars or where there are none machine-seconds, and the best until then."""
    spent = _Spent.of(standing)
    told = sorted(((point.at, trial.number, point) for trial in standing.trials for point in trial.points), key=_moment)
    taken: dict[int, float] = {}
    steps: list[tuple[float, float]] = []
    for _, number, point in told:
        taken[number] = spent.of_point(point)
        if not math.isfinite(point.objective):
            continue
        before = steps[-1][1] if steps else point.objective
        best = min(before, point.objective) if standing.minimizes else max(before, point.objective)
        steps.append((math.fsum(taken.values()), best))
    return steps


def _moment(told: tuple[Any, int, Point]) -> tuple[Any, int, int]:
    at, number, point = told
    return at, number, point.step


def _front(points: Sequence[tuple[float, float]], *, minimize: bool) -> list[tuple[float, float]]:
    """The points that no other is both cheaper and better than, cheapest first."""
    found: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda one: (one[0], one[1] if minimize else -one[1])):
        if not found or (value < found[-1][1] if minimize else value > found[-1][1]):
            found.append((cost, value))
    return found


@dataclass(frozen=True)
class _Spent:
    """What is counted: dollars, or the time of machines where they cost nothing."""

    is_dollars: bool

    @classmethod
    def of(cls, standing: Standing) -> _Spent:
        return cls(standing.usd > 0)

    @property
    def word(self) -> str:
        return "dollars" if self.is_dollars else "machine time"

    def of_point(self, point: Point) -> float:
        return point.usd if self.is_dollars else point.machine_s

    def scale(self, axes: Axes) -> None:
        from matplotlib.ticker import FuncFormatter

        write = format_usd if self.is_dollars else format_seconds
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))


@dataclass(frozen=True)
class _Scale:
    """One of the upright lines: where on it a value is, from 0 to 1. Below 0 is the place of a value that is absent."""

    key: str
    name: str
    low: float
    high: float
    is_log: bool = False
    choices: tuple[Any, ...] = ()
    turned: bool = False

    @classmethod
    def of(cls, key: str, one: RangeSpec) -> _Scale:
        if one.choice is not None:
            return cls(key, shorten(key), 0, max(1, len(one.choice) - 1), choices=one.choice)
        return cls(key, shorten(key), float(one.ends[0]), float(one.ends[1]), is_log=one.is_log)

    @classmethod
    def of_objective(cls, name: str, values: Sequence[float], *, minimize: bool) -> _Scale:
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        return cls("", name, low, high if high > low else low + 1, turned=minimize)

    def at(self, value: Any) -> float:
        if value is None:
            return ABSENT
        if self.choices:
            number = float(next(index for index, choice in enumerate(self.choices) if same(choice, value)))
        else:
            number = float(value)
        low, high = (math.log(self.low), math.log(self.high)) if self.is_log else (self.low, self.high)
        share = ((math.log(number) if self.is_log else number) - low) / (high - low)
        return 1 - share if self.turned else share

    def ticks(self) -> list[tuple[float, str]]:
        if self.choices:
            return [(self.at(choice), format_value(choice)) for choice in self.choices]
        middle = math.sqrt(self.low * self.high) if self.is_log else (self.low + self.high) / 2
        ends = (self.low, middle, self.high)
        return [(self.at(value), f"{value:.3g}") for value in ends]


ABSENT = -0.16


def _draw_scales(axes: Axes, scales: Sequence[_Scale]) -> None:
    axes.set_axis_off()
    axes.set_xlim(-0.3, len(scales) - 0.6)
    axes.set_ylim(ABSENT - 0.06, 1.16)
    text: dict[str, Any] = {"color": FRAME["--ink"], "fontsize": 12}
    behind = {"facecolor": BEHIND, "edgecolor": "none", "pad": 1}
    for place, scale in enumerate(scales):
        axes.plot([place, place], [0, 1], color=FRAME["--ink"], linewidth=1)
        axes.text(place, 1.08, scale.name, ha="center", weight="bold", **text)
        for height, word in scale.ticks():
            axes.text(place + 0.04, height, word, va="center", bbox=behind, **text)
    axes.text(-0.3, ABSENT, "absent", va="center", **text)


def _line(standing: Standing, trial: TrialStanding) -> dict[str, Any]:
    """The best one, the best quarter, and the others; later ones are drawn above."""
    ranked = standing.ranked
    if standing.best and trial.number == standing.best.number:
        return {"color": BEST, "linewidth": 2.6}
    good = [one.number for one in ranked[: max(1, math.ceil(GOOD_SHARE * len(ranked)))]]
    if trial.number in good:
        return {"color": GOOD, "linewidth": 1.5}
    return {"color": OTHER, "linewidth": 1.0}


def _handles(standing: Standing) -> dict[str, Any]:
    from matplotlib.lines import Line2D

    names = {"best": (BEST, 2.6), "best quarter": (GOOD, 1.5), "other trials": (OTHER, 1.0)}
    shown = names if len(standing.trials) > 1 else {"best": names["best"]}
    return {
        "handles": [Line2D([], [], color=colour, linewidth=width) for colour, width in shown.values()],
        "labels": list(shown),
    }


def _bound(axes: Axes, values: Sequence[float]) -> None:
    """Leave out what is far off: one trial that explodes would press all the others into a line."""
    finite = np.array([value for value in values if math.isfinite(value)])
    if len(finite) < 8:
        return
    low, high = np.quantile(finite, [0.02, 0.98])
    room = 0.08 * (high - low) or 0.1
    axes.set_ylim(max(finite.min(), low - 3 * room) - room, min(finite.max(), high + 3 * room) + room)
