"""Pictures as one inline <svg>, drawn by matplotlib.

Colours are CSS variables with a fallback, so that the page around the picture decides between light and dark; letters
stay text in the font of the page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FRAME = {"--ink": "#5b6673", "--rule": "#e3e8ee"}
"""Colours of letters and lines. Each colour of a picture is used for one purpose only: it is the mark to replace."""

ROUND = (1, 2, 2.5, 5, 10)
"""What the distance of two ticks may start with."""


def draw(
    paint: Callable[[Axes], None], *, title: str, colours: Mapping[str, str], width_px: int = 880, height_px: int = 360
) -> str:
    """What `paint` draws, with a title for those who cannot see it. `colours` maps CSS variables to what it used."""
    import matplotlib.style
    from matplotlib.figure import Figure

    # The SVG writer takes these two from nowhere else. The context also keeps a user's own style out, and restores it.
    settings = {"svg.fonttype": "none", "svg.hashsalt": f"{title.partition(',')[0]} {width_px}"}
    with matplotlib.style.context(["default", settings]):
        figure = Figure(figsize=(width_px / 72, height_px / 72), dpi=72, layout="constrained")
        paint(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Type")))
    return _inline(file.getvalue(), title=title, colours=colours)


def style_axes(axes: Axes, *, x: str, y: str) -> None:
    """Names of the axes, quiet ticks, horizontal lines and no box."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(x, color=FRAME["--ink"], fontsize=12)
    axes.set_ylabel(y, color=FRAME["--ink"], fontsize=12)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=ROUND))
    axes.tick_params(colors=FRAME["--ink"], labelsize=12, length=0, pad=6)
    axes.grid(axis="y", color=FRAME["--rule"], linewidth=1)
    axes.spines[:].set_visible(False)
    axes.margins(x=0.02)


def _inline(svg: str, *, title: str, colours: Mapping[str, str]) -> str:
    """The <svg> element alone, with the page's font and colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<g id=\"[^\"]*\">", "<g>", svg)  # names like axes_1 would be there twice on a page of two pictures
    svg = re.sub(r"font: ([0-9.]+px)[^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r" font-family: [^;\"]*;", "", svg)
    for variable, colour in colours.items():
        svg = svg.replace(colour, f"var({variable}, {colour})")
    return svg.replace("<svg", '<svg role="img" class="chart"', 1).replace(">", f"><title>{escape(title)}</title>", 1)
