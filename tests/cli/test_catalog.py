from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import Tw
from tradewind.catalog import Price, load_catalog
from tradewind.catalog.refresh import PRICE_APIS
from tradewind.registry.catalog_files import CatalogFiles
from tradewind.storage import open_store

OVERLAY = """
kind: catalog
name: harbour
discounts:
  - {cloud: aws, instance: "p5.*", percent: 40}
hardware:
  - {name: rack, place: berlin, machines: 2, chip: H100-SXM, chips: 8, processors: 192, memory: 2TiB, price_per_hour: 9}
"""


def keep(folder: Path, usd: float, *, age_days: int = 0) -> None:
    today = datetime.now(UTC).date()
    row = Price("aws", "us-east-1", "", "p5.48xlarge", usd, None, today - timedelta(days=age_days), "test")
    CatalogFiles(open_store(str(folder))).keep("aws", [row], day=today)


def test_offers_are_shown_cheapest_first_with_the_age_of_their_prices(tw: Tw, empty: Path) -> None:
    answer = tw("offers", "--gpu", "H100", "--max-price", 40, "--market", "spot", "--limit", 4, "-w", empty)
    assert answer.exit_code == 0
    assert answer.out.count("× H100-SXM") == 4
    for said in ("machine", "$/chip-h", "of on-demand", "%", "days *", "more; --limit shows them"):
        assert said in answer.out
    assert "* 4 of 4 prices are older than 30 days" in answer.out
    assert "`tw catalog refresh gcp`" in answer.out


def test_json_has_the_rows_of_the_table(tw: Tw, empty: Path) -> None:
    rows = tw("offers", "--gpu", "h100-sxm", "--cloud", "aws", "--region", "us-east-1", "-w", empty, "--json").json
    found = load_catalog().offers(gpu="H100-SXM", cloud="aws", region="us-east-1")
    assert rows == json.loads(json.dumps(found.rows()))


def test_young_prices_have_no_mark(tw: Tw, empty: Path) -> None:
    asked = ("offers", "--cloud", "aws", "--region", "us-east-1", "--gpu", "H100", "--min-chips", 8, "-w", empty)
    keep(empty, 50.0)
    out = tw(*asked).out
    assert "$50.00" in out
    assert "of today" in out
    assert "*" not in out
    keep(empty, 50.0, age_days=31)
    assert "31 days *" in tw(*asked).out


def test_chip_that_is_not_known_is_refused_with_the_nearest(tw: Tw, empty: Path) -> None:
    answer = tw("offers", "--gpu", "H10", "-w", empty)
    assert answer.exit_code == 2
    assert "no chip named 'H10' (did you mean 'H100'?)" in answer.err
    assert "is not a size" in tw("offers", "--min-memory", "much", "-w", empty).err


def test_nothing_offered_is_said(tw: Tw, empty: Path) -> None:
    assert "nothing is offered so" in tw("offers", "--gpu", "H100", "--max-price", 0.01, "-w", empty).out


def test_tables_are_shown_with_sources_and_what_is_left_out(tw: Tw, empty: Path) -> None:
    answer = tw("catalog", "show", "-w", empty)
    for said in ("prices of aws", "chips", "regions", "sources", "left out: ", "no price in dollars", "ATTRIBUTION.md"):
        assert said in answer.out
    shown = tw("catalog", "show", "-w", empty, "--json").json
    assert shown["offers"] == len(load_catalog().all_offers)
    assert {row["table"] for row in shown["tables"]} >= {"prices of gcp", "transfer", "storage", "tco"}


def test_overlay_is_applied_and_dropped(tw: Tw, empty: Path, tmp_path: Path) -> None:
    (tmp_path / "overlay.yaml").write_text(OVERLAY)
    answer = tw("catalog", "apply", tmp_path / "overlay.yaml", "-w", empty)
    assert answer.out.startswith("harbour: 1 discount, 0 reservations, 1 machine type of one's own; ")
    [row] = tw("offers", "--cloud", "onprem", "-w", empty, "--json").json
    assert (row["id"], row["usd_per_hour"]) == ("onprem/berlin/rack/owned", 9)
    assert tw("catalog", "drop", "harbour", "-w", empty).out == "harbour is removed\n"
    assert "no cloud named 'onprem'" in tw("offers", "--cloud", "onprem", "-w", empty).err


def test_price_lists_are_shown_and_the_newest_of_each_cloud_counts(tw: Tw, empty: Path) -> None:
    assert "`tw catalog refresh CLOUD`" in tw("catalog", "snapshots", "-w", empty).out
    keep(empty, 50.0)
    row = {"day": f"{datetime.now(UTC).date()}", "cloud": "aws"}
    [shown] = tw("catalog", "snapshots", "-w", empty, "--json").json
    assert {**shown, **row} == shown
    assert shown["counts"]
    assert "prices-aws.csv" in tw("catalog", "snapshots", "-w", empty).out


def test_refresh_keeps_what_the_cloud_answers(tw: Tw, empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cloud's own API is not ours: what stands in for it answers with two prices."""

    def answer(*_: object, **asked: object) -> list[Price]:
        today = datetime.now(UTC).date()
        return [Price("aws", region, "", "p5.48xlarge", 33.0, None, today, "api") for region in ("us-east-1", "sea-1")]

    monkeypatch.setattr("tradewind.catalog.refresh.aws.aws_prices", answer)
    assert "aws" in PRICE_APIS
    out = tw("catalog", "refresh", "aws", "-w", empty).out
    assert "aws: 2 prices of " in out
    assert "left out: 1 prices of regions that the catalogue does not know" in out
    rows = tw("offers", "--gpu", "H100", "--region", "us-east-1", "--min-chips", 8, "-w", empty, "--json").json
    assert [row["usd_per_hour"] for row in rows] == [33.0]


def test_refresh_of_a_cloud_without_an_api_is_refused(tw: Tw, empty: Path) -> None:
    answer = tw("catalog", "refresh", "alibaba", "-w", empty)
    assert answer.exit_code == 2
    assert "alibaba" in answer.err
