from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.catalog import Price
from tradewind.catalog.price_list import COLUMNS, read_prices, write_prices
from tradewind.catalog.tables import shipped_instances, shipped_regions
from tradewind.errors import IntegrityError

GOOD = {
    "cloud": "aws",
    "region": "us-east-1",
    "instance": "p5.48xlarge",
    "on_demand_usd_per_hour": "55.04",
    "as_of": "2026-11-01",
    "currency": "USD",
    "source": "page",
}


def sheet(*rows: dict[str, str]) -> bytes:
    return "\n".join([",".join(COLUMNS), *(",".join(row.get(name, "") for name in COLUMNS) for row in rows)]).encode()


def read(*rows: dict[str, str]) -> list[Price]:
    return read_prices(sheet(*rows), "prices.csv", regions=shipped_regions(), instances=shipped_instances())


amounts = st.none() | st.floats(0, 1e6)
words = st.text("abc-.1", min_size=1, max_size=8)


@given(
    st.lists(
        st.builds(
            Price,
            cloud=words,
            region=words,
            zone=words | st.just(""),
            instance=words,
            on_demand_usd_per_hour=amounts,
            spot_usd_per_hour=amounts,
            as_of=st.none() | st.dates(date(2020, 1, 1)),
            source=words,
        ),
        unique_by=lambda price: (price.cloud, price.region, price.zone, price.instance),
    )
)
def test_prices_that_are_written_are_read_back_exactly(prices: list[Price]) -> None:
    back = read_prices(write_prices(prices), "prices.csv")
    assert sorted(back, key=repr) == sorted(prices, key=repr)


def test_order_of_rows_does_not_change_the_file() -> None:
    first, second = read(GOOD, {**GOOD, "region": "us-west-2"})
    assert write_prices([first, second]) == write_prices([second, first])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"on_demand_usd_per_hour": "free"}, "column on_demand_usd_per_hour: 'free' is not a number"),
        ({"spot_usd_per_hour": "-0.1"}, "column spot_usd_per_hour: -0.1 is less than 0"),
        ({"spot_usd_per_hour": "inf"}, "column spot_usd_per_hour: 'inf' is not a number"),
        ({"cloud": "awz"}, r"column cloud: no cloud named 'awz' \(did you mean 'aws'\?\)"),
        ({"region": "us-east-9"}, r"column region: aws has no region named 'us-east-9' \(did you mean 'us-east-"),
        ({"instance": "p4de.25xlarge"}, r"column instance: aws has no machine type named .*'p4de.24xlarge'\?\)"),
        ({"as_of": "2026"}, "column as_of: '2026' is not a day"),
        ({"source": ""}, "column source: is empty"),
        ({"currency": ""}, "column currency: is empty"),
        ({"currency": "CNY"}, "column on_demand_usd_per_hour: dollars in a row of CNY"),
        (
            {"currency": "CNY", "on_demand_usd_per_hour": "", "spot_usd_per_hour": "1"},
            "column spot_usd_per_hour: dollars in a row of CNY",
        ),
        ({"native_on_demand_per_hour": "3"}, "column native_on_demand_per_hour: a price in dollars has no other"),
    ],
)
def test_wrong_row_is_named_with_file_line_and_column(change: dict[str, str], complaint: str) -> None:
    with pytest.raises(IntegrityError, match=f"prices.csv, line 3, {complaint}"):
        read({**GOOD, "region": "us-west-2"}, {**GOOD, **change})


def test_price_given_twice_is_refused() -> None:
    with pytest.raises(IntegrityError, match=r"line 3, column instance: a second price of aws/us-east-1/p5.48xlarge"):
        read(GOOD, GOOD)
    assert len(read(GOOD, {**GOOD, "zone": "us-east-1a"})) == 2
