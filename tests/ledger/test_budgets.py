from __future__ import annotations

import multiprocessing
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.errors import NotFoundError, QuotaError, SpecError
from tradewind.ledger import Budgets, Ledger, node_usage
from tradewind.ledger.budgets import period_start
from tradewind.records import Machine, Period, Usage, now
from tradewind.storage import Store, open_store

TEAM = "pilots"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def spend(store: Store, usd: float, **changes: Any) -> None:
    values: dict[str, Any] = {
        "usage_id": uuid.uuid4().hex, "activity": "training", "subject": "run:x", "team": TEAM, "machine": "quay",
        "seconds": 1.0, "cpu_seconds": 1.0, "energy_wh": 0.0, "usd": usd,
    }  # fmt: skip
    Ledger(store).record([Usage.model_validate(values | changes)])


def budget_of(store: Store, usd: float, *, per: Period = "month") -> Budgets:
    budgets = Budgets(store)
    budgets.set(TEAM, usd, per=per)
    return budgets


def sums(budgets: Budgets) -> tuple[float, float]:
    """Spent and reserved."""
    found = budgets.get(TEAM)
    assert found is not None
    return round(found.spent_usd, 6), round(found.reserved_usd, 6)


def test_team_without_a_budget_may_spend_anything_and_nothing_is_written(store: Store) -> None:
    Budgets(store).admit(TEAM, 1e12, "big")
    Budgets(store).admit("", 1e12, "nobodys")
    Budgets(store).settle(TEAM, "big")
    assert list(store.list("")) == []


def test_what_fits_is_admitted_and_what_does_not_is_refused(store: Store) -> None:
    budgets = budget_of(store, 100.0)
    budgets.admit(TEAM, 60.0, "first")
    with pytest.raises(QuotaError):
        budgets.admit(TEAM, 40.01, "second")
    budgets.admit(TEAM, 40.0, "third")
    budgets.admit("others", 1e6, "fourth")
    assert sums(budgets) == (0, 100)


def test_refusal_says_what_is_spent_reserved_and_left_and_what_to_do(store: Store) -> None:
    budgets = budget_of(store, 500.0)
    spend(store, 120.0)
    budgets.admit(TEAM, 300.0, "first")
    with pytest.raises(QuotaError) as caught:
        budgets.admit(TEAM, 90.0, "second")
    assert caught.value.remedy == "fix"
    assert caught.value.message == (
        "second would cost $90.00 (estimated), and of the budget of team pilots, $500.00 a month, $120.00 is spent and"
        " $300.00 reserved, 1 at work: $80.00 is left"
    )
    assert "tw budgets set --team pilots --usd 510.00 --per month" in (caught.value.hint or "")


def test_row_of_a_run_takes_the_place_of_its_reservation(store: Store) -> None:
    budgets = budget_of(store, 100.0)
    budgets.admit(TEAM, 80.0, "first")
    spend(store, 30.0, run="first")
    assert sums(budgets) == (30, 0)
    budgets.admit(TEAM, 70.0, "second")


def test_reservation_of_a_killed_run_counts_until_its_row_is_there(store: Store) -> None:
    """Whoever looks at a run whose process is gone writes its end, and the row of it."""
    budgets = budget_of(store, 100.0)
    budgets.admit(TEAM, 80.0, "killed")
    with pytest.raises(QuotaError):
        budgets.admit(TEAM, 50.0, "second")
    spend(store, 20.0, run="killed")
    budgets.admit(TEAM, 80.0, "second")
    assert sums(budgets) == (20, 80)


def test_endpoint_spends_its_reservation_as_it_serves(store: Store) -> None:
    budgets = budget_of(store, 100.0)
    budgets.admit(TEAM, 60.0, "chat")
    spend(store, 15.0, activity="serving", endpoint="chat")
    assert sums(budgets) == (15, 45)
    spend(store, 55.0, activity="serving", endpoint="chat")
    assert sums(budgets) == (70, 0)
    budgets.settle(TEAM, "chat")
    budgets.admit(TEAM, 30.0, "second")


def test_what_was_served_before_is_not_taken_from_a_new_reservation(store: Store) -> None:
    budgets = budget_of(store, 100.0, per="total")
    spend(store, 15.0, activity="serving", endpoint="chat", created_at=now() - timedelta(hours=1))
    budgets.admit(TEAM, 60.0, "chat")
    assert sums(budgets) == (15, 60)


def test_work_that_did_not_start_gives_its_reservation_back(store: Store) -> None:
    budgets = budget_of(store, 100.0)
    budgets.admit(TEAM, 80.0, "first")
    budgets.settle(TEAM, "first")
    budgets.settle(TEAM, "first")
    budgets.admit(TEAM, 100.0, "second")


def test_same_run_again_replaces_its_reservation(store: Store) -> None:
    budgets = budget_of(store, 100.0)
    budgets.admit(TEAM, 80.0, "first")
    budgets.admit(TEAM, 90.0, "first")
    assert sums(budgets) == (0, 90)


def test_only_this_team_in_this_period_counts_and_no_node(store: Store) -> None:
    budgets = budget_of(store, 100.0, per="day")
    machine = Machine(host="n", processor="x", num_cpus=1, memory_bytes=1, usd_per_hour=50.0)
    spend(store, 10.0, team="others")
    spend(store, 10.0, created_at=now() - timedelta(days=1, minutes=1))
    Ledger(store).record([node_usage(machine, cluster="c", began_at=now(), seconds=0.5, team=TEAM)])
    spend(store, 1.5)
    assert sums(budgets) == (1.5, 0)
    budgets.set(TEAM, 100.0, per="total")
    assert sums(budgets) == (11.5, 0)


def test_run_of_an_earlier_period_counts_until_it_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [datetime(2026, 3, 31, 23, tzinfo=UTC)]
    monkeypatch.setattr("tradewind.ledger.budgets.now", lambda: clock[0])
    budgets = budget_of(store, 100.0)
    budgets.admit(TEAM, 70.0, "long")
    budgets.admit(TEAM, 30.0, "short")
    spend(store, 25.0, run="short", created_at=datetime(2026, 3, 31, 23, 30, tzinfo=UTC))
    clock[0] = datetime(2026, 4, 2, tzinfo=UTC)
    assert sums(budgets) == (0, 70)
    spend(store, 65.0, run="long", created_at=datetime(2026, 4, 2, tzinfo=UTC))
    assert sums(budgets) == (65, 0)


def test_budget_of_one_run_is_a_limit_of_its_own(store: Store) -> None:
    budgets = Budgets(store)
    budgets.admit("", 5.0, "first", budget_usd=5.0)
    with pytest.raises(QuotaError, match=r"first would cost \$5.01 \(estimated\), more than its budget of \$5.00"):
        budgets.admit("", 5.01, "first", budget_usd=5.0)


def test_raised_lowered_and_removed_limits_count_at_once_and_keep_what_is_reserved(store: Store) -> None:
    budgets = budget_of(store, 100.0)
    budgets.admit(TEAM, 80.0, "first")
    lowered = budgets.set(TEAM, 50.0)
    assert (lowered.reserved, lowered.room_usd) == ({"first": 80.0}, 0.0)
    with pytest.raises(QuotaError):
        budgets.admit(TEAM, 1.0, "second")
    budgets.remove(TEAM)
    assert (budgets.get(TEAM), budgets.list()) == (None, ())
    budgets.admit(TEAM, 1e6, "second")
    assert budgets.set(TEAM, 90.0).reserved == {"first": 80.0}


def test_budgets_are_listed_by_team(store: Store) -> None:
    budgets = Budgets(store)
    for team in ("quay", "anchor", "mast"):
        budgets.set(team, 1.0)
    budgets.remove("mast")
    assert [budget.team for budget in budgets.list()] == ["anchor", "quay"]


@pytest.mark.parametrize("usd", [-1.0, float("nan"), float("inf")])
def test_amount_that_is_none_is_refused(store: Store, usd: float) -> None:
    with pytest.raises(SpecError, match="is not a budget in dollars"):
        Budgets(store).set(TEAM, usd)
    with pytest.raises(SpecError, match="is not a cost in dollars"):
        Budgets(store).admit(TEAM, usd, "first")


def test_unknown_period_team_and_name_are_refused(store: Store) -> None:
    budgets = budget_of(store, 1.0)
    with pytest.raises(SpecError, match=r"no budget per 'moth' \(did you mean 'month'\?\)"):
        budgets.set(TEAM, 1.0, per="moth")  # type: ignore[arg-type]
    with pytest.raises(NotFoundError, match=r"'pilot' has no budget \(did you mean 'pilots'\?\)"):
        budgets.remove("pilot")
    with pytest.raises(SpecError, match="is not a name"):
        budgets.set("../x", 1.0)


def test_periods_begin_in_utc() -> None:
    at = datetime.fromisoformat("2026-04-01T01:30:00+05:00")  # a Tuesday evening in March, in UTC
    starts = {per: period_start(per, at) for per in ("day", "week", "month", "total")}
    assert starts == {
        "day": datetime(2026, 3, 31, tzinfo=UTC),
        "week": datetime(2026, 3, 30, tzinfo=UTC),
        "month": datetime(2026, 3, 1, tzinfo=UTC),
        "total": None,
    }


@settings(max_examples=20)
@given(
    limit=st.integers(0, 50),
    steps=st.lists(
        st.tuples(st.integers(1, 20), st.integers(0, 20), st.sampled_from(["end", "run", "fail"])), max_size=12
    ),
)
def test_what_is_admitted_never_passes_the_limit(limit: int, steps: list[tuple[int, int, str]]) -> None:
    """Of runs that cost at most what they projected. Refused is only what would not have fitted."""
    store = open_store(f"memory://{uuid.uuid4().hex}")
    budgets = budget_of(store, limit / 100, per="total")
    spent, running = 0, 0
    for number, (projected, actual, fate) in enumerate(steps):
        try:
            budgets.admit(TEAM, projected / 100, f"r{number}")
        except QuotaError:
            assert spent + running + projected > limit
            continue
        assert spent + running + projected <= limit
        if fate == "end":
            spent += min(actual, projected)
            spend(store, min(actual, projected) / 100, run=f"r{number}")
        elif fate == "run":
            running += projected
        else:
            budgets.settle(TEAM, f"r{number}")
    assert sums(budgets) == (spent / 100, running / 100)


def admitted(url: str, name: str, count: int) -> int:
    """How many of some runs are admitted; each second one ends at once, for half of what it projected."""
    store = open_store(url)
    done = 0
    for number in range(count):
        try:
            Budgets(store).admit(TEAM, 1.0, f"{name}-{number}")
        except QuotaError:
            continue
        done += 1
        if number % 2:
            spend(store, 0.5, run=f"{name}-{number}")
    return done


def test_racing_threads_never_pass_the_limit(store: Store) -> None:
    budgets = budget_of(store, 5.0)
    with ThreadPoolExecutor(6) as pool:
        done = sum(pool.map(lambda number: admitted(store.url, f"t{number}", 3), range(6)))
    spent, reserved = sums(budgets)
    assert 5 <= done <= 10
    assert spent + reserved <= 5.0


@pytest.mark.slow
def test_racing_processes_never_pass_the_limit(store: Store) -> None:
    budgets = budget_of(store, 8.0)
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        done = sum(pool.starmap(admitted, [(store.url, f"p{number}", 6) for number in range(4)]))
    spent, reserved = sums(budgets)
    assert 8 <= done <= 16
    assert spent + reserved <= 8.0
