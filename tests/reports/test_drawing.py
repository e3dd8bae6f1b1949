from __future__ import annotations

from xml.etree import ElementTree

from matplotlib.axes import Axes

from tradewind.reports import draw, style_axes
from tradewind.reports.drawing import FRAME

COLOURS = {**FRAME, "--curve": "#0f7f92"}


def paint(axes: Axes) -> None:
    style_axes(axes, x="months", y="dollars & cents")
    axes.plot([0, 1], [0, 1], color=COLOURS["--curve"])


def test_picture_has_a_title_names_of_axes_and_colours_of_the_page() -> None:
    svg = draw(paint, title="A curve, up", colours=COLOURS)
    root = ElementTree.fromstring(svg)
    assert (root.get("role"), root[0].text) == ("img", "A curve, up")
    assert {"months", "dollars & cents"} <= {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert all(f"var({variable}, {colour})" in svg for variable, colour in COLOURS.items())


def test_same_picture_is_the_same_text() -> None:
    assert draw(paint, title="A curve", colours=COLOURS) == draw(paint, title="A curve", colours=COLOURS)
