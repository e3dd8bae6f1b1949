from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from tradewind.ledger import effort, node_usage, usage
from tradewind.records import Machine, Place, now

MACHINE = Machine(
    host="quay",
    processor="Xeon",
    num_cpus=4,
    memory_bytes=16_000_000_000,
    usd_per_hour=36.0,
    price_as_of=date(2025, 3, 1),
    place=Place.parse("aws/us-east-1/us-east-1a"),
    device="H100",
    devices=8,
)
HOUR = effort(MACHINE, seconds=3600, cpu_seconds=20)
NOON = datetime(2025, 3, 4, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_team(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRADEWIND_TEAM", raising=False)


def test_row_holds_what_was_metered_and_where() -> None:
    made = usage("training", "run:first", MACHINE, HOUR, tokens_in=4096)
    assert (made.activity, made.subject, made.parents, made.machine) == (
        "training",
        "run:first",
        ("run:first",),
        "quay",
    )
    assert (made.tokens_in, made.tokens_out, made.requests) == (4096, 0, 0)
    assert HOUR.model_dump().items() <= made.model_dump().items()
    assert (made.cloud, made.region, made.device, made.devices) == ("aws", "us-east-1", "H100", 8)
    assert (made.usd, made.usd_per_hour, made.price_as_of) == (36.0, 36.0, date(2025, 3, 1))


def test_what_a_row_is_about_stands_in_columns() -> None:
    parents = ("model:pilot@1", "dataset:tides@1", "dataset:logs@2", "checkpoint:first/3")
    made = usage("serving", "endpoint:chat", MACHINE, HOUR, parents=parents)
    assert (made.endpoint, made.model, made.dataset, made.run) == ("chat", "pilot@1", "tides@1+logs@2", "")
    assert usage("training", "run:first", MACHINE, HOUR, dataset="tides@1").dataset == "tides@1"


def test_device_time_is_that_of_all_devices_and_productive_unless_said_otherwise() -> None:
    made = usage("training", "run:first", MACHINE, HOUR)
    assert (made.allocated_s, made.used_s, made.productive_s) == (28_800, 28_800, 28_800)
    made = usage("training", "run:first", MACHINE, HOUR, used_s=20_000, productive_s=15_000)
    assert (made.allocated_s, made.used_s, made.productive_s) == (28_800, 20_000, 15_000)
    made = usage("training", "run:first", MACHINE, HOUR, used_s=20_000)
    assert made.productive_s == 20_000


def test_work_beside_other_work_holds_its_share_of_the_machine() -> None:
    quarter = effort(MACHINE, seconds=3600, cpu_seconds=20, share=0.25)
    made = usage("training", "run:first", MACHINE, quarter, share=0.25)
    assert (made.seconds, made.allocated_s, made.used_s) == (3600, 7200, 7200)
    assert (made.usd, made.usd_per_hour) == (9.0, 9.0)


def test_no_more_is_productive_than_used_and_no_more_used_than_held() -> None:
    """Clocks of several processes never agree exactly."""
    made = usage("training", "run:first", MACHINE, HOUR, used_s=30_000, productive_s=31_000)
    assert (made.allocated_s, made.used_s, made.productive_s) == (28_800, 28_800, 28_800)


def test_part_of_a_machine_pays_for_that_part() -> None:
    made = usage("training", "run:first", MACHINE, HOUR, devices=2)
    assert (made.devices, made.allocated_s, made.usd, made.usd_per_hour) == (2, 7200, 9.0, 9.0)
    assert made.energy_wh == pytest.approx(HOUR.energy_wh / 4)


def test_row_ends_now_unless_it_says_when_it_began() -> None:
    made = usage("training", "run:first", MACHINE, HOUR)
    assert made.began_at is not None
    assert abs(made.began_at + timedelta(hours=1) - now()) < timedelta(minutes=1)
    assert usage("training", "run:first", MACHINE, HOUR, began_at=NOON).began_at == NOON


def test_team_is_the_one_of_the_environment_or_the_one_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usage("training", "run:first", MACHINE, HOUR).team == ""
    monkeypatch.setenv("TRADEWIND_TEAM", "pilots")
    assert usage("training", "run:first", MACHINE, HOUR).team == "pilots"
    assert usage("training", "run:first", MACHINE, HOUR, team="").team == ""


def test_node_costs_its_price_for_as_long_as_it_was_there() -> None:
    made = node_usage(MACHINE, cluster="harbour", began_at=NOON, seconds=1800, team="pilots")
    assert (made.activity, made.subject, made.parents) == ("cluster", "node:quay", ("node:quay", "cluster:harbour"))
    assert (made.began_at, made.created_at) == (NOON, NOON + timedelta(minutes=30))
    assert (made.allocated_s, made.usd, made.team) == (14_400, 18.0, "pilots")
