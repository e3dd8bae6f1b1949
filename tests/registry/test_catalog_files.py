from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from tradewind.catalog import Price
from tradewind.errors import IntegrityError, NotFoundError, SpecError
from tradewind.registry.catalog_files import CatalogFiles
from tradewind.specs import CatalogSpec
from tradewind.storage import open_store

DAY = date(2026, 12, 1)


@pytest.fixture
def files(tmp_path: Any) -> CatalogFiles:
    return CatalogFiles(open_store(str(tmp_path)))


def price(usd: float, *, region: str = "us-east-1", instance: str = "p5.48xlarge", day: date = DAY) -> Price:
    return Price("aws", region, "", instance, usd, None, day, "test")


def overlay(percent: float) -> CatalogSpec:
    return CatalogSpec.of(name="harbour", discounts=[{"percent": percent}])


def of_h100(files: CatalogFiles, at: date | None = None) -> list[float]:
    found = files.load(at=at).offers(cloud="aws", region="us-east-1", gpu="H100", min_chips=8)
    return [offer.usd_per_hour for offer in found]


def test_workspace_without_files_has_the_shipped_catalogue(files: CatalogFiles) -> None:
    assert files.snapshots() == []
    assert files.load() is files.load()


def test_price_of_each_day_is_kept(files: CatalogFiles) -> None:
    shipped = of_h100(files)
    files.keep("aws", [price(50)], day=DAY)
    files.keep("aws", [price(40)], day=date(2027, 1, 1))
    assert files.snapshots() == ["2026-12-01/prices-aws.csv", "2027-01-01/prices-aws.csv"]
    assert of_h100(files) == [40]
    assert of_h100(files, at=date(2026, 12, 31)) == [50]
    assert of_h100(files, at=date(2026, 11, 30)) == shipped


def test_what_an_answer_does_not_name_stays_with_its_own_day(files: CatalogFiles) -> None:
    before = {offer.id: offer for offer in files.load().offers(cloud="aws")}
    kept = files.keep("aws", [price(50), price(45, region="atlantis-1")], day=DAY)
    after = {offer.id: offer for offer in files.load().offers(cloud="aws")}
    assert kept.left_out == 1
    assert after.keys() == before.keys()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"aws/us-east-1/p5.48xlarge/on_demand"}


def test_price_that_a_cloud_names_no_more_is_gone(files: CatalogFiles) -> None:
    files.keep("aws", [price(50), price(60, region="us-west-2"), price(5, instance="g5.xlarge")], day=DAY)
    assert len(files.load().offers(cloud="aws", region="us-west-2", gpu="H100", min_chips=8)) == 1
    files.keep("aws", [price(50), price(5, region="us-west-2", instance="g5.xlarge")], day=DAY)
    assert len(files.load().offers(cloud="aws", region="us-west-2", gpu="H100", min_chips=8)) == 0


def test_overlay_replaces_the_one_of_its_name_and_can_be_dropped(files: CatalogFiles) -> None:
    [listed] = of_h100(files)
    files.apply(overlay(50))
    assert of_h100(files) == [pytest.approx(listed / 2)]
    files.apply(overlay(10))
    assert of_h100(files) == [pytest.approx(listed * 0.9)]
    files.drop("harbour")
    assert of_h100(files) == [listed]
    with pytest.raises(NotFoundError):
        files.drop("harbour")


def test_nothing_is_kept_of_an_overlay_that_does_not_fit(files: CatalogFiles) -> None:
    wrong = CatalogSpec.of(
        name="wrong",
        reservations=[{"cloud": "aws", "region": "us-east-1", "instance": "p5.49xlarge", "machines": 1,
                       "price_per_hour": 1, "until": "2030-01-01"}],
    )  # fmt: skip
    with pytest.raises(NotFoundError, match=r"no machine type named 'p5.49xlarge'"):
        files.apply(wrong)
    assert list(files.overlays()) == []


def test_damaged_files_are_named(files: CatalogFiles) -> None:
    files.store.put("catalog/overlays/harbour.yaml", b"name: harbour\ndiscounts: [{percent: 300}]\n")
    with pytest.raises(SpecError, match=r"catalog/overlays/harbour.yaml:2: discounts.0.percent"):
        files.load()
    files.store.delete("catalog/overlays/harbour.yaml")
    files.store.put("catalog/snapshots/2026-12-01/prices-aws.csv", b"cloud\naws\n")
    with pytest.raises(IntegrityError, match=r"2026-12-01/prices-aws.csv, line 1: column 'region' is missing"):
        files.load().offers()
    files.store.put("catalog/snapshots/notes.txt", b"hello")
    with pytest.raises(IntegrityError, match=r"'notes.txt' is no price list"):
        files.load()
