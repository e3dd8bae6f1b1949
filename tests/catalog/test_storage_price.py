from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.catalog.storage_price import COLUMNS, DAYS_PER_MONTH, GB, TIERS, read_storage_prices, storage_prices
from tradewind.errors import IntegrityError

prices = st.sampled_from(storage_prices())


def test_each_cloud_has_a_class_for_every_tier_with_its_source() -> None:
    found = {(price.cloud, price.tier) for price in storage_prices()}
    assert found == {(cloud, tier) for cloud in ("aws", "gcp", "azure") for tier in TIERS}
    assert all(price.source and price.region for price in storage_prices())


def test_every_price_has_a_day_or_says_of_when_it_is() -> None:
    assert all(price.as_of or "2025 or 2026" in price.note for price in storage_prices())


def test_dollars_are_those_of_the_list() -> None:
    hot = next(price for price in storage_prices() if (price.cloud, price.tier) == ("aws", "hot"))
    assert hot.usd(1000 * GB, days=DAYS_PER_MONTH) == pytest.approx(23)
    cold = next(price for price in storage_prices() if (price.cloud, price.tier) == ("aws", "cold"))
    assert cold.usd(1000 * GB, days=1) == pytest.approx(4 * 90 / DAYS_PER_MONTH)
    assert cold.retrieval_usd(100 * GB) == pytest.approx(3)
    assert cold.usd(1, days=90) == cold.usd(cold.minimum_bytes, days=90)


def test_unknown_price_stays_unknown() -> None:
    archive = next(price for price in storage_prices() if (price.cloud, price.tier) == ("gcp", "archive"))
    assert archive.retrieval_usd(GB) is None


@given(prices, st.integers(0, 2**50), st.integers(0, 2**50), st.floats(0, 4000), st.floats(0, 4000))
def test_more_bytes_and_more_days_never_cost_less(
    price: object, few: int, more: int, short: float, longer: float
) -> None:
    assert isinstance(price, type(storage_prices()[0]))
    less, most = price.usd(few, days=short), price.usd(few + more, days=short + longer)
    assert less is not None
    assert most is not None
    assert 0 <= less <= most * (1 + 1e-12)


def test_wrong_tier_is_named() -> None:
    data = f"{','.join(COLUMNS)}\naws,tepid,X,r,1,0,0,0,,,page,\n".encode()
    with pytest.raises(IntegrityError, match=r"storage.csv, line 2, column tier: 'tepid' is not known"):
        list(read_storage_prices(data, "storage.csv"))
