from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.errors import SpecError
from tradewind.ledger import AXES, Axis, Ledger, UsageTable, effort, node_usage, usage
from tradewind.ledger.grouping import RATIOS, SUMS
from tradewind.records import Boundary, Machine, Place, Usage
from tradewind.storage import open_store

NOON = datetime(2025, 3, 4, 12, 0, tzinfo=UTC)
MACHINE = Machine(host="quay", processor="Xeon", num_cpus=4, memory_bytes=10**10, usd_per_hour=36.0, devices=8)


def row(**changes: Any) -> Usage:
    values: dict[str, Any] = {
        "created_at": NOON, "usage_id": uuid.uuid4().hex, "activity": "training", "subject": "run:first",
        "machine": "quay", "seconds": 10.0, "allocated_s": 80.0, "used_s": 60.0, "productive_s": 30.0,
        "cpu_seconds": 5.0, "energy_wh": 2.0, "usd": 1.0,
    }  # fmt: skip
    return Usage.model_validate(values | changes)


def ledger_of(*rows: Usage) -> Ledger:
    ledger = Ledger(open_store(f"memory://{uuid.uuid4().hex}"))
    for half in (rows[::2], rows[1::2]):
        ledger.record(half)
    return ledger


def test_rows_of_one_team_and_run_become_one() -> None:
    ledger = ledger_of(
        row(team="a", run="x"), row(team="a", run="x", usd=2.5, requests=3), row(team="a", run="y"), row(team="b")
    )
    table = ledger.by(["team", "run"])
    assert [(one["team"], one["run"], one["usd"], one["rows"]) for one in table] == [
        ("a", "x", 3.5, 2), ("a", "y", 1.0, 1), ("b", "", 1.0, 1),
    ]  # fmt: skip
    assert (table.total["usd"], table.total["rows"], table.total["requests"]) == (5.5, 4, 3)


def test_ratios_are_of_the_sums() -> None:
    ledger = ledger_of(row(), row(allocated_s=20.0, used_s=20.0, productive_s=20.0), row(team="idle", used_s=0.0))
    shares = {one["team"]: [one[name] for name in RATIOS] for one in ledger.by(["team"])}
    assert shares[""] == pytest.approx([0.8, 50 / 80, 0.5])
    assert shares["idle"] == [0.0, None, 30 / 80]
    assert ledger_of(row(allocated_s=0, used_s=0, productive_s=0)).by([]).total["used_of_allocated"] is None


def test_days_are_of_utc_and_in_their_order() -> None:
    evening = datetime.fromisoformat("2025-03-04T20:00:00-05:00")
    table = ledger_of(row(created_at=evening, usd=9.0), row(), row()).by(["day"])
    assert [(str(one["day"]), one["usd"]) for one in table] == [("2025-03-04", 2.0), ("2025-03-05", 9.0)]


def test_dearest_comes_first() -> None:
    ledger = ledger_of(*(row(team=team, usd=usd) for team, usd in (("a", 1.0), ("b", 7.0), ("c", 3.0))))
    assert [one["team"] for one in ledger.by(["team"])] == ["b", "c", "a"]


def test_time_of_nodes_is_in_no_sum() -> None:
    node = node_usage(MACHINE, cluster="harbour", began_at=NOON, seconds=3600)
    table = ledger_of(row(), node).by(["activity"])
    assert [one["activity"] for one in table] == ["training"]
    assert table.total["usd"] == 1.0


def test_energy_is_measured_where_all_of_it_is() -> None:
    ledger = ledger_of(row(team="a", energy_basis="measured"), row(team="b", energy_basis="measured"), row(team="b"))
    table = ledger.by(["team"])
    assert {one["team"]: one["energy_basis"] for one in table} == {"a": "measured", "b": "estimated"}
    assert table.total["energy_basis"] == "estimated"


def test_since_and_until_bound_the_rows() -> None:
    ledger = ledger_of(*(row(created_at=NOON + timedelta(hours=hour)) for hour in range(6)))
    table = ledger.by([], since=NOON + timedelta(hours=1), until=NOON + timedelta(hours=4))
    assert table.total["rows"] == 3


def test_unknown_axis_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"usage has no axis 'endpint' \(did you mean 'endpoint'\?\)") as caught:
        ledger_of().by(["team", "endpint"])
    assert "boundary" in (caught.value.hint or "")


def test_empty_ledger_is_no_groups_and_a_total_of_nothing(tmp_path: Path) -> None:
    table = Ledger(open_store(str(tmp_path / "empty"))).by(["team", "day"])
    assert (len(table), table.rows(), table.total["usd"], table.total["rows"]) == (0, [], 0, 0)


def test_pandas_and_notebook_have_all_columns_and_only_the_notebook_a_total() -> None:
    table = ledger_of(row(team="<a>", boundary="internet"), row(team="b")).by(["team", "boundary"])
    frame = table.to_pandas()
    assert list(frame.columns) == ["team", "boundary", *SUMS, "energy_basis", "rows", *RATIOS]
    assert frame["usd"].sum() == 2.0
    page = table._repr_html_()
    assert page.count("<tr>") == 4
    assert "&lt;a&gt;" in page
    assert "<a>" not in page
    assert "<td>total</td>" in page
    assert "<tr><td>" in ledger_of(row()).by([])._repr_html_()


AMOUNTS = st.floats(0, 1e6, allow_nan=False, width=32)
ROWS = st.builds(
    row,
    team=st.sampled_from(["", "a", "b"]),
    run=st.sampled_from(["", "x", "y"]),
    model=st.sampled_from(["", "m@1"]),
    cloud=st.sampled_from(["aws", "gcp"]),
    boundary=st.sampled_from([None, *get_args(Boundary)]),
    created_at=st.datetimes(datetime(2025, 1, 1), datetime(2025, 1, 9), timezones=st.just(UTC)),
    requests=st.integers(0, 10**6),
    tokens_in=st.integers(0, 10**12),
    num_bytes=st.integers(0, 10**15),
    allocated_s=AMOUNTS,
    used_s=AMOUNTS,
    productive_s=AMOUNTS,
    energy_wh=AMOUNTS,
    usd=AMOUNTS,
)


@settings(max_examples=30)
@given(rows=st.lists(ROWS, max_size=12), axes=st.lists(st.sampled_from(AXES), unique=True, max_size=4))
def test_sums_along_any_axes_add_up_to_those_of_the_rows(rows: list[Usage], axes: list[Axis]) -> None:
    table = ledger_of(*rows).by(axes)
    for name in SUMS:
        expected = math.fsum(getattr(one, name) for one in rows)
        assert math.fsum(one[name] for one in table) == pytest.approx(expected, rel=1e-9)
        assert table.total[name] == pytest.approx(expected, rel=1e-9)
    assert sum(one["rows"] for one in table) == len(rows)
    assert len({tuple(one[axis] for axis in axes) for one in table}) == len(table)


def cluster_at(utilisation: float, *, load_s: float) -> UsageTable:
    """As many machines of 8 devices as a load of device-seconds takes at a utilisation, for an hour."""
    held_s = load_s / utilisation
    machine = MACHINE.model_copy(update={"usd_per_hour": 36.0 * held_s / 28_800, "place": Place.parse("aws")})
    taken = effort(machine, seconds=held_s / 8, cpu_seconds=0).model_copy(update={"usd": held_s / 28_800 * 36.0})
    made = usage("serving", "endpoint:chat", machine, taken, used_s=load_s, productive_s=0.9 * load_s)
    return ledger_of(made).by(["cloud"])


def test_better_used_machines_cost_less_for_the_same_load() -> None:
    """At 82 % instead of 35 %, the same work takes 35/82 = 0.427 of the machines, and of the money."""
    before, after = cluster_at(0.35, load_s=1e6), cluster_at(0.82, load_s=1e6)
    assert before.total["used_of_allocated"] == pytest.approx(0.35)
    assert after.total["used_of_allocated"] == pytest.approx(0.82)
    assert after.total["productive_of_used"] == pytest.approx(0.9)
    assert after.total["productive_of_allocated"] == pytest.approx(0.82 * 0.9)
    assert after.total["used_s"] == before.total["used_s"]
    assert after.total["usd"] / before.total["usd"] == pytest.approx(0.427, abs=0.0005)
