from __future__ import annotations

import pytest

from tradewind.clusters.hybrid.backend import Machine
from tradewind.clusters.hybrid.node_hours import NodeHours
from tradewind.clusters.hybrid.tags import PRICE, SINCE
from tradewind.records import Usage

BACKENDS = {"west": {"type": "aws", "region": "us-west-2"}, "berlin": {"type": "static"}}
START = 1_780_000_000.0


class Rows(list[Usage]):
    def seconds(self, node: str) -> float:
        return sum(row.seconds for row in self if row.machine == node)


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def hours(rows: Rows) -> NodeHours:
    return NodeHours("harbour", "acme", BACKENDS, rows.extend)


def machine(since: float = START, usd: float = 3.6) -> Machine:
    return Machine("i-1", {SINCE: str(int(since)), PRICE: str(round(usd * 1e6))}, running=True)


def test_time_of_a_node_is_written_from_its_launch_to_when_it_was_last_seen(hours: NodeHours, rows: Rows) -> None:
    for minute in range(1, 31):
        hours.count([("west/i-1", machine())], START + 60 * minute)
    hours.count([], START + 60 * 31)
    assert rows.seconds("west/i-1") == 30 * 60
    assert sum(row.usd for row in rows) == pytest.approx(1.8)
    assert {(row.activity, row.team, row.cloud, row.region) for row in rows} == {
        ("cluster", "acme", "aws", "us-west-2")
    }


def test_rows_of_a_node_follow_each_other_without_gap_or_overlap(hours: NodeHours, rows: Rows) -> None:
    for minute in range(1, 60):
        hours.count([("west/i-1", machine())], START + 60 * minute)
    begins = [row.began_at.timestamp() for row in rows if row.began_at]
    assert begins == [START + sum(row.seconds for row in rows[:number]) for number in range(len(rows))]
    assert len(rows) == 6


def test_restarted_head_does_not_count_again_what_the_one_before_has_written(hours: NodeHours, rows: Rows) -> None:
    later = START + 7200
    hours.count([("west/i-1", machine())], later)
    hours.count([("west/i-1", machine())], later + 600)
    assert rows.seconds("west/i-1") == 600


def test_host_of_ones_own_stands_on_its_own_ground(hours: NodeHours, rows: Rows) -> None:
    hours.count([("berlin/10.0.0.2", machine(usd=0.0))], START + 60)
    hours.count([], START + 120)
    assert [(row.cloud, row.usd, row.seconds) for row in rows] == [("onprem", 0.0, 60.0)]
