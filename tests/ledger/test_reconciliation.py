from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.ledger import Ledger, effort, node_usage, reconcile, usage
from tradewind.records import Machine, Usage
from tradewind.storage import open_store

NOON = datetime(2025, 3, 4, 12, 0, tzinfo=UTC)


def node(name: str = "quay", *, usd_per_hour: float = 36.0, devices: int = 8) -> Machine:
    return Machine(
        host=name, processor="x", num_cpus=4, memory_bytes=10**10, usd_per_hour=usd_per_hour, devices=devices
    )


def up(machine: Machine, hours: float, *, after: float = 0.0) -> Usage:
    began_at = NOON + timedelta(hours=after)
    return node_usage(machine, cluster="harbour", began_at=began_at, seconds=hours * 3600)


def work(machine: Machine, hours: float, *, after: float = 0.0, devices: int | None = None) -> Usage:
    taken = effort(machine, seconds=hours * 3600, cpu_seconds=0)
    began_at = NOON + timedelta(hours=after)
    return usage("training", "run:first", machine, taken, devices=devices, began_at=began_at, team="")


def test_usage_and_idle_time_are_the_dollars_of_the_node() -> None:
    found = reconcile([up(node(), 4)], [work(node(), 1.5, after=0.25), work(node(), 1, after=2.5, devices=4)])
    assert (found.node_usd, found.usage_usd, found.idle_usd) == pytest.approx((144.0, 54.0 + 18.0, 72.0))
    assert found.error == pytest.approx(0, abs=1e-12)
    assert (found.is_balanced, found.problems()) == (True, [])


def test_hours_are_those_of_the_clock() -> None:
    found = reconcile([up(node(), 2, after=0.5)], [work(node(), 1, after=1.25)])
    assert [one.hour.hour for one in found.hours] == [12, 13, 14]
    assert [one.node_s for one in found.hours] == pytest.approx([14_400, 28_800, 14_400])
    assert [one.allocated_s for one in found.hours] == pytest.approx([0, 21_600, 7_200])


def test_time_held_twice_is_found_with_its_hour() -> None:
    found = reconcile([up(node(), 2)], [work(node(), 2), work(node(), 0.5, after=1)])
    assert [one.hour.hour for one in found.overfull] == [13]
    assert found.overfull[0].excess_s == pytest.approx(14_400)
    assert not found.is_balanced
    assert found.problems()[0] == "quay 2025-03-04 13:00 UTC: 43200 device-seconds held of 28800"


def test_work_on_a_node_that_nobody_paid_for_is_found() -> None:
    found = reconcile([up(node(), 1)], [work(node("elsewhere"), 0.5)])
    assert [one.node for one in found.overfull] == ["elsewhere"]


def test_other_price_than_the_nodes_is_found_and_one_percent_is_let_pass() -> None:
    dear = reconcile([up(node(), 1)], [work(node(usd_per_hour=36.8), 1)])
    assert not dear.is_balanced
    assert dear.problems() == ["usage $36.80 and idle $0.00 are not the nodes' $36.00 to 1%"]
    assert reconcile([up(node(), 1)], [work(node(usd_per_hour=36.3), 1)]).is_balanced


def test_errors_that_cancel_are_errors_all_the_same() -> None:
    found = reconcile(
        [up(node("a"), 1), up(node("b"), 1)],
        [work(node("a", usd_per_hour=40.0), 1), work(node("b", usd_per_hour=32.0), 1)],
    )
    assert found.usage_usd == pytest.approx(found.node_usd)
    assert found.error == pytest.approx(8 / 72)


def test_bytes_are_no_time_of_a_node() -> None:
    moved = work(node(), 0).model_copy(update={"activity": "transfer", "usd": 99.0})
    assert reconcile([up(node(), 1)], [moved]).usage_usd == 0


def test_nothing_agrees_with_nothing() -> None:
    found = reconcile([], [])
    assert (found.error, found.is_balanced, found.hours) == (0.0, True, ())
    assert reconcile([], [work(node(), 1)]).error == float("inf")


@settings(max_examples=40)
@given(seed=st.integers(0, 10**9), nodes=st.integers(1, 4), share=st.floats(0.05, 1.0))
def test_simulated_cluster_agrees_and_any_work_counted_twice_does_not(seed: int, nodes: int, share: float) -> None:
    """Nodes come and go; on each one piece of work after another holds some devices, with gaps between them."""
    draw = random.Random(seed)
    node_rows, usage_rows = [], []
    for number in range(nodes):
        machine = node(f"n{number}", usd_per_hour=draw.uniform(0.1, 98), devices=draw.choice((1, 4, 8)))
        hours, at = draw.uniform(0.5, 9), 0.0
        node_rows.append(up(machine, hours))
        while at < hours:
            length = min(draw.uniform(0.01, 3), hours - at)
            if draw.random() < share:
                usage_rows.append(work(machine, length, after=at, devices=draw.randint(1, machine.devices)))
            at += length
    found = reconcile(node_rows, usage_rows)
    assert found.problems() == []
    assert found.usage_usd + found.idle_usd == pytest.approx(found.node_usd, rel=0.01)
    assert found.usage_usd == pytest.approx(sum(row.usd for row in usage_rows))
    assert all(one.allocated_s <= one.node_s * 1.01 for one in found.hours)
    if usage_rows:
        longest = max(usage_rows, key=lambda row: row.allocated_s / row.devices)
        assert not reconcile(node_rows, [*usage_rows, *[longest] * 9]).is_balanced


def test_ledger_holds_its_nodes_against_its_work() -> None:
    ledger = Ledger(open_store("memory://reconciliation"))
    one, other = up(node(), 2), work(node(), 1.5)
    ledger.record([one, other.model_copy(update={"created_at": one.created_at})])
    found = ledger.reconcile(since=NOON)
    assert found.is_balanced
    assert found.idle_usd == pytest.approx(18.0)
    assert ledger.reconcile(until=NOON).hours == ()
