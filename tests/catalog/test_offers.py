from __future__ import annotations

import json
import sys

import pytest

from tradewind.catalog import Offers, load_catalog
from tradewind.catalog.offers import COLUMNS, SHOWN
from tradewind.errors import SpecError


@pytest.fixture(scope="module")
def offers() -> Offers:
    return load_catalog().offers(gpu="H100")


def test_offers_are_a_sequence_and_parts_of_them_are_offers(offers: Offers) -> None:
    assert len(offers[:3]) == 3
    assert isinstance(offers[:3], Offers)
    assert next(iter(offers)) is offers[0]
    assert offers[-1] in offers


def test_table_has_a_row_for_each_offer_and_units_in_its_columns(offers: Offers) -> None:
    frame = offers.to_pandas()
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == len(offers)
    assert frame["usd_per_hour"].is_monotonic_increasing
    assert list(Offers([]).to_pandas().columns) == list(COLUMNS)


def test_rows_are_plain_data(offers: Offers) -> None:
    rows = offers[:5].rows()
    assert json.loads(json.dumps(rows)) == rows


def test_without_pandas_it_says_what_to_install(offers: Offers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SpecError, match="needs pandas") as caught:
        offers.to_pandas()
    assert caught.value.hint == "pip install pandas"


def test_notebook_shows_the_cheapest_and_how_many_more(offers: Offers) -> None:
    html = offers._repr_html_()
    assert html.count("<tr>") == SHOWN + 1
    assert f"{len(offers) - SHOWN} more" in html
    assert repr(offers) == f"<{len(offers)} offers, cheapest first>"
