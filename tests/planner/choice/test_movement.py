from __future__ import annotations

import pytest

from tests.planner.offers import offer, region
from tradewind.catalog.transfer import transfer_tariff
from tradewind.families import known_model, parameters
from tradewind.planner.choice.movement import Movement, Tariffs, hot_usd_per_gb_month
from tradewind.planner.work import TrainingWork
from tradewind.records import LOCAL, UNKNOWN, Place

WORK = TrainingWork(known_model("llama-3.1-8b"), 1000, 64, 8192, dataset_bytes=10**12, checkpoint_every_s=600.0)
HERE = Place.parse("aws/us-east-1")


def test_model_comes_home_with_two_bytes_a_parameter() -> None:
    assert Movement(WORK, LOCAL).bytes_home(100.0) == 2 * parameters(WORK.shape)


def test_checkpoints_go_home_where_that_is_in_a_cloud() -> None:
    far = Movement(WORK, HERE)
    assert far.bytes_home(10.0) == parameters(WORK.shape) * (2 + 60 * 12)
    assert far.bytes_kept() == 10**12


def test_checkpoints_stay_with_the_machines_where_home_is_a_folder() -> None:
    assert Movement(WORK, LOCAL).bytes_kept() == 10**12 + 2 * 12 * parameters(WORK.shape)


def test_bytes_cost_what_the_tariff_of_each_place_says() -> None:
    offers = [offer(), offer(where=region("gcp", "us-central1")), offer(where=region("aws", "eu-west-1"))]
    dollars = Tariffs(offers, source=HERE).usd(1e12)
    for one, usd in zip(offers, dollars, strict=True):
        there = Place(cloud=one.region.cloud, region=one.region.name)
        assert usd == pytest.approx(transfer_tariff(HERE, there).usd(10**12))
    assert dollars[0] == 0.0


def test_what_leaves_a_cloud_for_a_folder_goes_over_the_internet() -> None:
    to_us = Tariffs([offer()], target=LOCAL).usd(1e12)[0]
    assert to_us == pytest.approx(transfer_tariff(HERE, Place.parse("onprem/here")).usd(10**12)) != 0.0
    assert Tariffs([offer()], source=LOCAL).usd(1e12)[0] == 0.0


def test_place_that_nobody_knows_costs_the_dearest() -> None:
    assert Tariffs([offer()], target=UNKNOWN).usd(1e12)[0] >= Tariffs([offer()], target=LOCAL).usd(1e12)[0]


def test_storage_of_an_unknown_cloud_costs_as_much_as_the_dearest() -> None:
    known = [hot_usd_per_gb_month(cloud) for cloud in ("aws", "gcp", "azure")]
    assert hot_usd_per_gb_month("unheard-of") == max(known)
    assert hot_usd_per_gb_month("local") == 0.0
