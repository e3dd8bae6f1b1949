from __future__ import annotations

from typing import Any, get_args

import pytest

from tradewind.catalog import Precision
from tradewind.errors import SpecError
from tradewind.specs import CatalogSpec, load
from tradewind.specs import catalog as words

DISCOUNT = {"percent": 10}
RESERVATION = {
    "cloud": "aws",
    "region": "us-east-1",
    "instance": "p5.48xlarge",
    "machines": 2,
    "price_per_hour": 30,
    "until": "2027-06-30",
}
HARDWARE = {"name": "rack", "place": "berlin", "machines": 4, "processors": 64, "memory": "512GiB", "price_per_hour": 2}


def of(**values: Any) -> CatalogSpec:
    return CatalogSpec.of(name="harbour", **values)


def test_number_formats_are_those_of_chips() -> None:
    assert get_args(words.Precision) == get_args(Precision)


def test_amounts_are_dollars_unless_they_say_otherwise() -> None:
    spec = of(discounts=[{"price_per_hour": 12.5}], usd_per_unit={"CNY": 0.14})
    assert spec.usd(str(spec.discounts[0].price_per_hour)) == 12.5
    spec = of(discounts=[{"price_per_hour": "10 EUR"}], usd_per_unit={"EUR": 1.1})
    assert spec.usd(str(spec.discounts[0].price_per_hour)) == pytest.approx(11)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (
            {"discounts": [{"price_per_hour": "10 EUR"}]},
            r"amounts in EUR need its rate: usd_per_unit: {EUR: …}",
        ),
        (
            {"discounts": [{"price_per_hour": "10 EUR"}, {"price_per_hour": 3}], "usd_per_unit": {"EUR": 1.1}},
            "amounts in EUR and USD: one file has one currency",
        ),
        (
            {
                "discounts": [{"price_per_hour": "10 EUR"}, {"price_per_hour": "3 GBP"}],
                "usd_per_unit": {"EUR": 1.1, "GBP": 1.3},
            },
            "amounts in EUR and GBP: one file has one currency",
        ),
        ({"usd_per_unit": {"USD": 1.0}}, "usd_per_unit is of other currencies than USD"),
        ({"usd_per_unit": {"EUR": 0}}, "greater than 0"),
        ({"discounts": [{"price_per_hour": "ten"}]}, "'ten' is not an amount; write 12.5 for dollars, or 12.5 EUR"),
        ({"discounts": [{"price_per_hour": -1}]}, "'-1' is not an amount"),
        ({"discounts": [{}]}, "give `percent` or `price_per_hour`"),
        ({"discounts": [{"percent": 5, "price_per_hour": 1}]}, "give `percent` or `price_per_hour`, not both"),
        ({"discounts": [{"percent": 101}]}, "less than or equal to 100"),
        ({"discounts": [{**DISCOUNT, "market": "sale"}]}, "discounts.0.market"),
        ({"reservations": [{**RESERVATION, "machines": 0}]}, "reservations.0.machines"),
        ({"reservations": [{**RESERVATION, "until": "soon"}]}, "reservations.0.until"),
        ({"hardware": [{**HARDWARE, "chip": "H100-SXM"}]}, "chip and chips go together"),
        ({"hardware": [{**HARDWARE, "chips": 8}]}, "chip and chips go together"),
        ({"hardware": [{**HARDWARE, "pue": 0.9}]}, "hardware.0.pue"),
        ({"hardware": [{**HARDWARE, "country": "Germany"}]}, "hardware.0.country"),
        ({"chips": [{"name": "X1"}]}, "chips.0.vendor is missing"),
        ({"hardware": [{**HARDWARE, "memroy": 1}]}, r"unknown key 'memroy' .*did you mean 'memory'\?"),
    ],
)
def test_mistake_is_refused_where_it_stands(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        of(**values)


def test_spec_survives_its_yaml(tmp_path: Any) -> None:
    spec = of(
        discounts=[DISCOUNT, {"cloud": "aws", "price_per_hour": 0.00001}],
        reservations=[RESERVATION],
        hardware=[{**HARDWARE, "price_per_hour": "2"}],
    )
    (tmp_path / "overlay.yaml").write_text(spec.to_yaml())
    assert load(tmp_path / "overlay.yaml") == spec
