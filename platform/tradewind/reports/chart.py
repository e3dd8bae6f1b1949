"""The loss curve as one inline <svg>."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tradewind.records import CheckpointRecord, StepMetrics
from tradewind.reports.drawing import FRAME, ROUND, draw, style_axes
from tradewind.units import format_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {**FRAME, "--raw": "#a9cfd6", "--curve": "#0f7f92", "--heldout": "#d0591b", "--bigram": "#7a54b8"}
"""CSS variable → what it falls back to."""

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
    steps, held = _in_order(metrics), _heldout(checkpoints)

    def paint(axes: Axes) -> None:
        if steps or held:
            _draw_axes(axes, most_ticks=6 if width_px > 500 else 3)
            _draw_losses(axes, steps, held, bigram_loss)
            axes.legend(frameon=False, loc="upper right", fontsize=12, labelcolor=COLOURS["--ink"])
        else:
            axes.set_axis_off()
            axes.text(0.5, 0.5, "no steps recorded", ha="center", color=COLOURS["--ink"], fontsize=14)

    title = _describe(steps, held, bigram_loss)
    return draw(paint, title=title, colours=COLOURS, width_px=width_px, height_px=height_px)


def _in_order(metrics: Sequence[StepMetrics]) -> list[StepMetrics]:
    """Steps by number, without losses that cannot be drawn; a step repeated after a restart counts as it went last."""
    newest = {step.step: step for step in metrics if math.isfinite(step.loss)}
    return [newest[number] for number in sorted(newest)]


def _heldout(checkpoints: Sequence[CheckpointRecord]) -> list[tuple[int, float]]:
    """Tokens and held-out loss, in order, of the checkpoints that can be drawn."""
    judged = [(at.tokens, at.heldout_loss) for at in checkpoints if at.heldout_loss is not None]
    return sorted((tokens, loss) for tokens, loss in judged if math.isfinite(loss))


def _draw_axes(axes: Axes, *, most_ticks: int) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    style_axes(axes, x="tokens trained on", y="loss, nats per token")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: format_count(tokens)))
    axes.xaxis.set_major_locator(MaxNLocator(most_ticks, steps=ROUND))


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
