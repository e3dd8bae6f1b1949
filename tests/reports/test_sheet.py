from __future__ import annotations

from tradewind.reports import Part, Sheet, render_sheet

PART = Part("Prices", ("machine", "dollars"), [("a <b>", "$1.50"), ("c", "–")], notes=["as of today"])


def test_page_has_its_parts_and_escapes_their_texts() -> None:
    text = render_sheet(Sheet("Title", "kind", "The answer.", tiles={"cost": "$3"}, parts=[PART]))
    assert "<h1>Title</h1>" in text
    assert "a &lt;b&gt;" in text
    assert "as of today" in text
    assert '<div class="tile"><strong>$3</strong><span>cost</span></div>' in text
    assert "<script" not in text


def test_columns_of_numbers_stand_on_the_right() -> None:
    assert not PART.is_number(0)
    assert PART.is_number(1)
    assert not Part("", ("a",), [("",)]).is_number(0)


def test_pictures_are_put_in_as_they_are() -> None:
    text = render_sheet(Sheet("Title", "", "", parts=[Part("Curve", charts=["<svg>a curve</svg>"])]))
    assert "<svg>a curve</svg>" in text
