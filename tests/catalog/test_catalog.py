from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import date

import pytest

from tradewind.catalog import Catalog, Price, load_catalog
from tradewind.catalog.catalog import NO_DOLLARS, SHARE, newest_lists
from tradewind.catalog.price_list import write_prices
from tradewind.errors import IntegrityError, NotFoundError


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def price(usd: float | None, *, spot: float | None = None, zone: str = "", instance: str = "p5.48xlarge") -> Price:
    return Price("aws", "us-east-1", zone, instance, usd, spot, date(2026, 12, 1), "test")


def test_plain_catalogue_is_loaded_once() -> None:
    assert load_catalog() is load_catalog()
    assert load_catalog(at=date(2026, 12, 1)) is not load_catalog()


def test_loading_offers_brings_in_nothing_heavy() -> None:
    code = """
import sys
from tradewind.catalog import load_catalog
assert load_catalog().offers()
print(*[name for name in ("pandas", "pyarrow", "numpy", "ray", "torch") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


def test_tables_are_read_when_they_are_asked_for() -> None:
    catalog = load_catalog({"2026-12-01/prices-aws.csv": b"damaged"})
    assert catalog.chip("H100-SXM").memory_bytes == 80 * 2**30
    with pytest.raises(IntegrityError, match=r"2026-12-01/prices-aws.csv, line 1: unknown column 'damaged'"):
        catalog.offers()


def test_every_offer_is_of_a_whole_machine_at_a_price(catalog: Catalog) -> None:
    for offer in catalog.all_offers:
        assert offer.usd_per_hour > 0
        assert offer.instance.vcpus
        assert offer.instance.memory_bytes
        assert offer.source
        assert (offer.chip is None) == (offer.chips == 0)
        assert offer.instance.cloud == offer.region.cloud
    assert len({offer.id for offer in catalog.all_offers}) == len(catalog.all_offers)


def test_offers_come_cheapest_first(catalog: Catalog) -> None:
    prices = [offer.usd_per_hour for offer in catalog.offers(gpu="H100")]
    assert prices == sorted(prices)


def test_machines_of_several_clouds_and_without_chips_are_offered(catalog: Catalog) -> None:
    assert {offer.region.cloud for offer in catalog.all_offers} >= {"aws", "gcp", "azure"}
    assert any(offer.chip is None for offer in catalog.offers(cloud="aws"))


def test_what_is_left_out_is_counted_with_the_reason(catalog: Catalog) -> None:
    rows = sum(len(listed.prices) for listed in catalog.price_lists)
    machines = {(*offer.place, offer.instance.name) for offer in catalog.all_offers}
    assert rows == len(machines) + sum(catalog.left_out.values())
    assert catalog.left_out[NO_DOLLARS] > 0
    assert catalog.left_out[SHARE] > 0


def test_tpu_machines_cost_as_much_as_all_their_chips(catalog: Catalog) -> None:
    one, four = (
        catalog.offers(gpu="TPU-v5e", region="us-west1", market="on_demand", min_chips=chips)[0] for chips in (1, 4)
    )
    assert (one.chips, four.chips) == (1, 4)
    assert four.usd_per_hour == pytest.approx(4 * one.usd_per_hour)


@pytest.mark.parametrize(
    ("gpu", "names"),
    [
        ("h100-sxm", {"H100-SXM"}),
        ("H100", {"H100-SXM", "H100-NVL"}),
        ("a100-80gb", {"A100-SXM-80GB", "A100-PCIe-80GB"}),
        ("t4", {"T4"}),
        ("L40S", {"L40S"}),
    ],
)
def test_chip_is_found_by_its_name_or_its_family(catalog: Catalog, gpu: str, names: set[str]) -> None:
    assert {offer.instance.chip for offer in catalog.offers(gpu=gpu)} == names


@pytest.mark.parametrize(
    ("ask", "nearest"),
    [
        (lambda catalog: catalog.offers(gpu="H10"), r"no chip named 'H10' \(did you mean 'H100'\?\)"),
        (lambda catalog: catalog.offers(cloud="awz"), r"no cloud named 'awz' \(did you mean 'aws'\?\)"),
        (
            lambda catalog: catalog.offers(region="westeurop"),
            r"no region named 'westeurop' \(did you mean 'westeurope'\?\)",
        ),
        (lambda catalog: catalog.offers(cloud="aws", region="eastus"), r"no region named 'eastus'"),
        (lambda catalog: catalog.offers(country="XX"), r"no country named 'XX'"),
        (lambda catalog: catalog.chip("H100-SMX"), r"no chip named 'H100-SMX' \(did you mean 'H100-SXM'\?\)"),
        (lambda catalog: catalog.instance("aws", "p5.48xlarg"), r"no machine type of aws .*'p5.48xlarge'\?\)"),
        (lambda catalog: catalog.instance("awz", "p5.48xlarge"), r"no cloud named 'awz'"),
        (lambda catalog: catalog.region("gcp", "us-centra1"), r"no region of gcp .*'us-central1'\?\)"),
    ],
)
def test_name_that_is_not_known_is_refused_with_the_nearest(
    catalog: Catalog, ask: Callable[[Catalog], object], nearest: str
) -> None:
    with pytest.raises(NotFoundError, match=nearest):
        ask(catalog)


def test_each_filter_only_takes_away(catalog: Catalog) -> None:
    found = catalog.offers(
        gpu="L4", cloud="GCP", country="nl", market="spot", max_price=20, max_price_per_chip=5, min_chips=2
    )
    assert found
    for offer in found:
        assert (offer.region.cloud, offer.region.country, offer.market) == ("gcp", "NL", "spot")
        assert offer.usd_per_hour <= 20
        assert (offer.usd_per_chip_hour or 0) <= 5
        assert offer.chips >= 2


def test_memory_is_that_of_a_chip_and_limit_keeps_the_cheapest(catalog: Catalog) -> None:
    found = catalog.offers(min_memory_bytes=100 * 2**30)
    assert found
    assert all(offer.chip and (offer.chip.memory_bytes or 0) >= 100 * 2**30 for offer in found)
    assert [offer.id for offer in catalog.offers(gpu="H100", limit=3)] == [
        offer.id for offer in catalog.offers(gpu="H100")[:3]
    ]


FILES = {
    "2026-12-01/prices-aws.csv": write_prices([price(50.0)]),
    "2027-01-01/prices-aws.csv": write_prices([price(40.0)]),
}


class TestHistory:
    def prices(self, at: date | None) -> list[float]:
        found = load_catalog(FILES, at=at).offers(cloud="aws", gpu="H100", min_chips=8)
        return [offer.usd_per_hour for offer in found]

    def test_the_price_is_that_of_the_day(self) -> None:
        assert self.prices(date(2026, 12, 31)) == [50.0]
        assert self.prices(date(2027, 1, 1)) == [40.0]
        assert self.prices(None) == [40.0]

    def test_before_the_first_list_the_shipped_one_counts(self) -> None:
        shipped = load_catalog().offers(cloud="aws", gpu="H100", min_chips=8)
        assert self.prices(date(2026, 11, 30)) == [offer.usd_per_hour for offer in shipped]

    def test_list_of_one_cloud_leaves_the_others_as_they_are(self) -> None:
        newer = load_catalog(FILES)
        assert len(newer.offers(cloud="gcp")) == len(load_catalog().offers(cloud="gcp"))
        assert len(newer.offers(cloud="aws")) == 1

    def test_newest_of_each_cloud_is_chosen_by_its_name(self) -> None:
        names = ["2027-01-01/prices-aws.csv", "2026-12-01/prices-gcp.csv", "2026-12-01/prices-aws.csv"]
        assert newest_lists(names) == {"aws": names[0], "gcp": names[1]}
        assert newest_lists(names, date(2026, 12, 5)) == {"aws": names[2], "gcp": names[1]}

    @pytest.mark.parametrize("name", ["prices-aws.csv", "2026-13-01/prices-aws.csv", "2026-12-01/chips.csv"])
    def test_file_of_another_name_is_refused(self, name: str) -> None:
        with pytest.raises(IntegrityError, match="is no price list"):
            load_catalog({name: b""})

    def test_list_with_prices_of_another_cloud_is_refused(self) -> None:
        catalog = load_catalog({"2026-12-01/prices-gcp.csv": write_prices([price(1.0)])})
        with pytest.raises(IntegrityError, match=r"2026-12-01/prices-gcp.csv has a price of aws"):
            catalog.offers()


def test_spot_price_of_a_zone_is_compared_with_on_demand_of_the_region() -> None:
    rows = [price(50.0), price(None, spot=20.0, zone="use1-az1"), price(None, spot=9.0, instance="p4d.24xlarge")]
    catalog = load_catalog({"2026-12-01/prices-aws.csv": write_prices(rows)})
    found = {offer.id: offer.on_demand_usd_per_hour for offer in catalog.offers(cloud="aws", market="spot")}
    assert found == {
        "aws/us-east-1/use1-az1/p5.48xlarge/spot": 50.0,
        "aws/us-east-1/p4d.24xlarge/spot": None,
    }
