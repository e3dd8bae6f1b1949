"""The loss curve as one inline <svg>, drawn by matplotlib.

Colours are CSS variables with a fallback, so that the page around the picture decides between light and dark; letters
stay text in the font of the page.
"""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from tradewind.records import CheckpointRecord, StepMetrics
from tradewind.units import format_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    "--ink": "#5b6673",
    "--rule": "#e3e8ee",
    "--raw": "#a9cfd6",
    "--curve": "#0f7f92",
    "--heldout": "#d0591b",
    "--bigram": "#7a54b8",
}
"""CSS variable → what it falls back to. Each colour is used for one purpose only: it is also the mark to replace."""

ROUND = (1, 2, 2.5, 5, 10)
"""What the distance of two ticks may start with."""

MOST_POINTS = 500
"""More than this many points on one curve cannot be told apart on a screen."""


def loss_curve(
    metrics: Sequence[StepMetrics],
    checkpoints: Sequence[CheckpointRecord],
    *,
    bigram_loss: float | None,
    width_px: int = 880,
    height_px: int = 360,
) -> str:
    """Loss in nats a token over tokens trained on: raw and smoothed, held-out points, and the bigram baseline."""
    import matplotlib.style
    from matplotlib.figure import Figure

    steps, held = _in_order(metrics), _heldout(checkpoints)
    # The SVG writer takes these two from nowhere else. The context also keeps a user's own style out, and restores it.
    settings = {"svg.fonttype": "none", "svg.hashsalt": f"loss curve {width_px}"}
    with matplotlib.style.context(["default", settings]):
        figure = Figure(figsize=(width_px / 72, height_px / 72), dpi=72, layout="constrained")
        axes = figure.add_subplot()
        if steps or held:
            _draw_axes(axes, most_ticks=6 if width_px > 500 else 3)
            _draw_losses(axes, steps, held, bigram_loss)
            axes.legend(frameon=False, loc="upper right", fontsize=12, labelcolor=COLOURS["--ink"])
        else:
            axes.set_axis_off()
            axes.text(0.5, 0.5, "no steps recorded", ha="center", color=COLOURS["--ink"], fontsize=14)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Type")))
    return _inline(file.getvalue(), title=_describe(steps, held, bigram_loss))


def _in_order(metrics: Sequence[StepMetrics]) -> list[StepMetrics]:
    """Steps by number, without losses that cannot be drawn; a step repeated after a restart counts as it went last."""
    newest = {step.step: step for step in metrics if math.isfinite(step.loss)}
    return [newest[number] for number in sorted(newest)]


def _heldout(checkpoints: Sequence[CheckpointRecord]) -> list[tuple[int, float]]:
    """Tokens and held-out loss, in order, of the checkpoints that can be drawn."""
    return sorted((at.tokens, at.heldout_loss) for at in checkpoints if math.isfinite(at.heldout_loss))


def _draw_axes(axes: Axes, *, most_ticks: int) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_xlabel("tokens trained on", color=COLOURS["--ink"], fontsize=12)
    axes.set_ylabel("loss, nats per token", color=COLOURS["--ink"], fontsize=12)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: format_count(tokens)))
    axes.xaxis.set_major_locator(MaxNLocator(most_ticks, steps=ROUND))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=ROUND))
    axes.tick_params(colors=COLOURS["--ink"], labelsize=12, length=0, pad=6)
    axes.grid(axis="y", color=COLOURS["--rule"], linewidth=1)
    axes.spines[:].set_visible(False)
    axes.margins(x=0.02)


def _draw_losses(
    axes: Axes, steps: Sequence[StepMetrics], held: Sequence[tuple[int, float]], bigram_loss: float | None
) -> None:
    line: dict[str, Any] = {"linewidth": 2.2, "label": "training, smoothed"}
    dots: dict[str, Any] = {"marker": "o", "markersize": 6, "linewidth": 1.2, "label": "held-out documents"}
    dashes: dict[str, Any] = {"linestyle": (0, (5, 4)), "linewidth": 1.6, "label": "bigram baseline"}
    if steps:
        shown = range(0, len(steps), math.ceil(len(steps) / MOST_POINTS))
        tokens = [steps[index].tokens for index in shown]
        smooth = _smoothed([step.loss for step in steps])
        raw = [steps[index].loss for index in shown]
        axes.plot(tokens, raw, color=COLOURS["--raw"], linewidth=1, label="training, each step")
        axes.plot(tokens, [smooth[index] for index in shown], color=COLOURS["--curve"], **line)
    if held:
        axes.plot(*zip(*held, strict=True), color=COLOURS["--heldout"], **dots)
    if bigram_loss is not None and math.isfinite(bigram_loss):
        axes.axhline(bigram_loss, color=COLOURS["--bigram"], **dashes)


def _smoothed(losses: Sequence[float]) -> list[float]:
    """Mean over the thirtieth of the run around each step, and over less near both ends, where the curve is steep."""
    sums = list(itertools.accumulate(losses, initial=0.0))
    last, widest = len(losses) - 1, len(losses) // 60
    reaches = [min(widest, index // 2, last - index) for index in range(len(losses))]
    return [(sums[at + reach + 1] - sums[at - reach]) / (2 * reach + 1) for at, reach in enumerate(reaches)]


def _describe(steps: Sequence[StepMetrics], held: Sequence[tuple[int, float]], bigram_loss: float | None) -> str:
    """The picture in words."""
    words = ["Loss curve"]
    if steps:
        words.append(f"training loss from {steps[0].loss:.2f} to {steps[-1].loss:.2f} nats per token")
        words.append(f"over {format_count(steps[-1].tokens)} tokens")
    if held:
        words.append(f"lowest held-out loss {min(loss for _, loss in held):.3f}")
    if bigram_loss is not None:
        words.append(f"bigram baseline {bigram_loss:.3f}")
    return ", ".join(words) if words[1:] else "Loss curve, no steps recorded"


def _inline(svg: str, *, title: str) -> str:
    """The <svg> element alone, with the page's font and colours, and a title for those who cannot see it."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<g id=\"[^\"]*\">", "<g>", svg)  # names like axes_1 would be there twice on a page of two pictures
    svg = re.sub(r"font: ([0-9.]+px)[^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r" font-family: [^;\"]*;", "", svg)
    for variable, colour in COLOURS.items():
        svg = svg.replace(colour, f"var({variable}, {colour})")
    return svg.replace("<svg", '<svg role="img" class="chart"', 1).replace(">", f"><title>{escape(title)}</title>", 1)
