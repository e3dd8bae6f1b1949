from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.catalog import Catalog, Offers, Price, load_catalog
from tradewind.catalog.catalog import NO_DOLLARS
from tradewind.catalog.overlay import Facts, Overlay
from tradewind.errors import NotFoundError, SpecError
from tradewind.specs import CatalogSpec

DAY = date(2026, 12, 1)
RESERVATION = {
    "cloud": "aws",
    "region": "us-east-1",
    "instance": "p5.48xlarge",
    "machines": 2,
    "price_per_hour": 30,
    "until": "2027-06-30",
}
HARDWARE = {
    "name": "rack",
    "place": "berlin",
    "machines": 4,
    "chip": "H100-SXM",
    "chips": 8,
    "processors": 192,
    "memory": "2TiB",
    "price_per_hour": 11,
    "power_w": 10200,
    "pue": 1.3,
    "carbon_g_per_kwh": 344,
    "country": "DE",
}
CHIP = {
    "name": "X1",
    "vendor": "harbour",
    "kind": "asic",
    "memory": "64GiB",
    "memory_bytes_per_s": 2e12,
    "flops": {"bf16": 5e14},
    "power_w": 500,
    "runtime": "xla",
}


def with_overlay(*overlays: dict[str, Any], at: date = DAY) -> Catalog:
    specs = [CatalogSpec.of(**{"name": f"overlay-{number}", **values}) for number, values in enumerate(overlays)]
    return load_catalog(overlays=specs, at=at)


def h100(catalog: Catalog, **ask: Any) -> Offers:
    return catalog.offers(cloud="aws", region="us-east-1", gpu="H100", min_chips=8, **ask)


LIST_PRICE = h100(load_catalog())[0].usd_per_hour


class TestDiscounts:
    def test_percentage_is_taken_off_what_fits(self) -> None:
        catalog = with_overlay({"discounts": [{"cloud": "aws", "instance": "p5.*", "percent": 40}]})
        [offer] = h100(catalog)
        assert offer.usd_per_hour == pytest.approx(0.6 * LIST_PRICE)
        assert len(catalog.all_offers) == len(load_catalog().all_offers)
        plain, changed = (one.offers(cloud="gcp", gpu="H100") for one in (load_catalog(), catalog))
        assert [offer.usd_per_hour for offer in changed] == [offer.usd_per_hour for offer in plain]

    def test_price_replaces_that_of_the_list(self) -> None:
        [offer] = h100(with_overlay({"discounts": [{"instance": "p5.48xlarge", "price_per_hour": 20}]}))
        assert offer.usd_per_hour == 20

    def test_of_several_that_fit_the_first_counts(self) -> None:
        discounts = [{"cloud": "aws", "percent": 10}, {"percent": 50}]
        [offer] = h100(with_overlay({"discounts": discounts}))
        assert offer.usd_per_hour == pytest.approx(0.9 * LIST_PRICE)

    def test_discount_of_one_market_leaves_the_other(self) -> None:
        plain = load_catalog().offers(cloud="gcp", gpu="L4", market="spot")
        cheaper = with_overlay({"discounts": [{"market": "on_demand", "percent": 50}]})
        found = cheaper.offers(cloud="gcp", gpu="L4", market="spot")
        assert [offer.usd_per_hour for offer in found] == [offer.usd_per_hour for offer in plain]
        assert found[0].on_demand_usd_per_hour == pytest.approx((plain[0].on_demand_usd_per_hour or 0) / 2)

    @given(st.floats(0.01, 100), st.floats(0, 1000))
    def test_no_percentage_makes_a_price_negative_or_higher(self, percent: float, usd: float) -> None:
        spec = CatalogSpec.of(name="a", discounts=[{"percent": percent}])
        price = Price("aws", "us-east-1", "", "p5.48xlarge", usd, None, None, "test")
        after = Overlay.of([spec], DAY, Facts({}, {}, {})).priced(price)
        assert 0 <= (after.on_demand_usd_per_hour or 0) <= usd
        assert after.spot_usd_per_hour is None


class TestReservations:
    def test_reserved_machines_are_offered_until_their_last_day(self) -> None:
        overlay = {"reservations": [RESERVATION]}
        [offer] = h100(with_overlay(overlay, at=date(2027, 6, 30)), market="reserved")
        assert (offer.usd_per_hour, offer.limit, offer.note) == (30, 2, "until 2027-06-30")
        assert not offer.is_stale(date(2027, 6, 30))
        assert len(h100(with_overlay(overlay, at=date(2027, 7, 1)), market="reserved")) == 0

    @pytest.mark.parametrize(
        ("change", "nearest"),
        [
            ({"cloud": "awz"}, r"overlay overlay-0: no cloud named 'awz' \(did you mean 'aws'\?\)"),
            ({"region": "us-east-11"}, "no region named 'us-east-11'"),
            ({"instance": "p5.48"}, "no machine type named 'p5.48'"),
        ],
    )
    def test_name_that_is_not_known_is_refused(self, change: dict[str, str], nearest: str) -> None:
        with pytest.raises(NotFoundError, match=nearest):
            with_overlay({"reservations": [{**RESERVATION, **change}]}).offers()


class TestHardware:
    def test_own_machines_are_offered_where_they_stand(self) -> None:
        [offer] = with_overlay({"hardware": [HARDWARE]}).offers(cloud="onprem")
        assert offer.id == "onprem/berlin/rack/owned"
        assert (offer.chips, offer.usd_per_hour, offer.limit, offer.market) == (8, 11, 4, "owned")
        assert offer.chip == load_catalog().chip("H100-SXM")
        assert (offer.region.pue, offer.region.carbon_g_per_kwh, offer.region.country) == (1.3, 344, "DE")
        assert offer.instance.power_w == 10200

    def test_chip_that_is_not_known_is_refused_with_the_nearest(self) -> None:
        with pytest.raises(NotFoundError, match=r"no chip named 'H100-SXN' \(did you mean 'H100-SXM'\?\)"):
            with_overlay({"hardware": [{**HARDWARE, "chip": "H100-SXN"}]}).offers()

    def test_chip_that_is_described_is_known(self) -> None:
        catalog = with_overlay({"chips": [CHIP], "hardware": [{**HARDWARE, "chip": "X1"}]})
        [offer] = catalog.offers(gpu="x1")
        assert offer.chip == catalog.chip("X1")
        assert offer.chip is not None
        assert (offer.chip.vendor, offer.chip.flops) == ("harbour", {"bf16": 5e14})

    def test_machine_without_chips_is_one_of_processors(self) -> None:
        bare = {key: value for key, value in HARDWARE.items() if key not in ("chip", "chips")}
        [offer] = with_overlay({"hardware": [bare]}).offers(cloud="onprem")
        assert (offer.chip, offer.chips, offer.instance.vcpus) == (None, 0, 192)

    @pytest.mark.parametrize(
        "second",
        [
            {"hardware": [{**HARDWARE, "place": "kiel", "memory": "1TiB"}]},
            {"hardware": [{**HARDWARE, "name": "other", "pue": 1.5}]},
            {"chips": [{**CHIP, "name": "H100-SXM"}]},
        ],
    )
    def test_one_thing_described_in_two_ways_is_refused(self, second: dict[str, Any]) -> None:
        with pytest.raises(SpecError, match="is described in two ways"):
            with_overlay({"hardware": [HARDWARE]}, second).offers()


def test_machines_that_are_listed_twice_are_refused_and_one_place_may_have_several() -> None:
    other = {**HARDWARE, "name": "other"}
    assert len(with_overlay({"hardware": [HARDWARE]}, {"hardware": [other]}).offers(cloud="onprem")) == 2
    with pytest.raises(SpecError, match="berlin/rack is there twice"):
        with_overlay({"hardware": [HARDWARE]}, {"hardware": [HARDWARE]}).offers()


def test_exchange_rate_makes_offers_of_prices_in_another_currency() -> None:
    plain, rated = load_catalog(), with_overlay({"usd_per_unit": {"CNY": 0.14}})
    assert len(plain.offers(cloud="alibaba")) == 0
    found = {offer.id: offer.usd_per_hour for offer in rated.offers(cloud="alibaba")}
    assert found
    assert NO_DOLLARS not in rated.left_out or rated.left_out[NO_DOLLARS] < plain.left_out[NO_DOLLARS]
    for listed in rated.price_lists:
        for price in listed.prices:
            name = f"{price.cloud}/{price.region}/{price.instance}/on_demand"
            if name in found:
                assert found[name] == pytest.approx(0.14 * (price.native_on_demand_per_hour or 0))
