from __future__ import annotations

from xml.etree import ElementTree

import pytest

from tradewind.catalog import load_catalog
from tradewind.planner.ownership.answer import Question, buy_or_rent
from tradewind.planner.ownership.page import break_even_chart, charts, months, page, threshold, usd, use_chart, verdict

CATALOG = load_catalog()
BUY = buy_or_rent(CATALOG, Question(given={"utilisation": 0.9}))
RENT = buy_or_rent(CATALOG, Question(given={"utilisation": 0.05}))
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("found", [BUY, RENT], ids=["buy", "rent"])
def test_pictures_are_svg_with_a_title(found: object) -> None:
    for chart in charts(BUY if found is BUY else RENT):
        root = ElementTree.fromstring(chart)
        assert root.tag == f"{SVG}svg"
        assert root[0].tag == f"{SVG}title"


def test_break_even_is_drawn_where_there_is_one() -> None:
    assert "break-even, month" in break_even_chart(BUY)
    assert "break-even, month" not in break_even_chart(RENT)
    assert f"the same at {threshold(BUY.comparison)}" in use_chart(BUY)


def test_answer_in_words() -> None:
    assert verdict(BUY.comparison).startswith("At a use of 90%, buying is cheaper by $")
    assert verdict(RENT.comparison).startswith("At a use of 5%, renting is cheaper by $")
    assert months(RENT.comparison) == "never"


def test_page_has_the_answer_its_pictures_and_every_input() -> None:
    text = page(BUY)
    assert text.count("<svg") == 2
    assert verdict(BUY.comparison) in text
    assert all(name in text for name in BUY.inputs)
    assert "<script" not in text


def test_notebook_shows_both_pictures() -> None:
    assert BUY._repr_html_().count("<svg") == 2


@pytest.mark.parametrize(("amount", "text"), [(1_234_000, "$1.23 M"), (-5_000, "-$5 k"), (12.3, "$12.30")])
def test_dollars_are_short(amount: float, text: str) -> None:
    assert usd(amount) == text
