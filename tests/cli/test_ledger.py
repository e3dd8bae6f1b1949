"""`tw usage --by`, `tw usage compact` and `tw budgets`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Tw
from tests.reports.conftest import RUN
from tradewind.ledger import Ledger, node_usage, usage
from tradewind.ledger.compaction import FEWEST
from tradewind.records import Effort, Machine, now
from tradewind.storage import open_store

MACHINE = Machine(host="quay", processor="x", num_cpus=1, memory_bytes=1, usd_per_hour=36.0, device="H100", devices=8)
HOUR = Effort(seconds=3600, cpu_seconds=1, energy_wh=5000, usd=36.0)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A workspace in which two teams have trained."""
    rows = [
        usage("training", f"run:{team}-{number}", MACHINE, HOUR, team=team, used_s=14_400, productive_s=7_200)
        for team, count in (("pilots", 2), ("keepers", 1))
        for number in range(count)
    ]
    node = node_usage(MACHINE, cluster="harbour", began_at=now(), seconds=9e5)
    Ledger(open_store(str(tmp_path / "w"))).record([*rows, node])
    return tmp_path / "w"


def test_usage_is_summed_by_team_and_device(tw: Tw, ledger: Path) -> None:
    answer = tw("usage", "--by", "team, device", "--since", "7d", "-w", ledger)
    assert (answer.exit_code, answer.err) == (0, "")
    title, _, pilots, keepers, total = answer.out.splitlines()
    assert "team, device" in title
    assert "estimated" in title
    assert pilots.split()[:6] == ["pilots", "H100", "–", "–", "–", "–"]
    assert pilots.split()[6:] == ["16", "50%", "50%", "25%", "10,000", "$72.00"]
    assert keepers.split()[-1] == "$36.00"
    assert total.split()[0] == "total"
    assert total.split()[-1] == "$108.00"


def test_sums_as_json_have_all_columns_and_the_total_last(tw: Tw, ledger: Path) -> None:
    pilots, keepers, total = tw("usage", "--by", "team,day", "-w", ledger, "--json").json
    assert (pilots["team"], pilots["usd"], pilots["allocated_s"], pilots["productive_of_allocated"]) == (
        "pilots", 72.0, 57_600, 0.25,
    )  # fmt: skip
    assert pilots["day"] == now().date().isoformat()
    assert (keepers["usd"], total["usd"], total["total"], total["team"]) == (36.0, 108.0, True, None)


def test_nothing_to_sum_is_said(tw: Tw, empty: Path) -> None:
    assert tw("usage", "--by", "team", "-w", empty).out == "nothing was used\n"
    (total,) = tw("usage", "--by", "team", "-w", empty, "--json").json
    assert total["usd"] == 0


def test_whole_journey_can_be_summed(tw: Tw, filled: Path) -> None:
    rows = tw("usage", "--by", "run,endpoint,dataset", "-w", filled, "--json").json
    assert {RUN, "chat"} <= {row[axis] for row in rows for axis in ("run", "endpoint")}


def test_unknown_axis_is_answered_with_the_nearest(tw: Tw, ledger: Path) -> None:
    answer = tw("usage", "--by", "team,modl", "-w", ledger)
    assert answer.exit_code == 2
    assert "usage has no axis 'modl' (did you mean 'model'?)" in answer.err


def test_compaction_is_told(tw: Tw, tmp_path: Path) -> None:
    store = Ledger(open_store(str(tmp_path / "w")))
    for number in range(FEWEST):
        store.record([usage("training", f"run:{number}", MACHINE, HOUR)])
    answer = tw("usage", "compact", "-w", tmp_path / "w")
    assert answer.out == f"{FEWEST} small files became 1, 0 old ones were deleted\n"
    assert tw("usage", "compact", "-w", tmp_path / "w", "--json").json == {"days": 0, "files": 0, "deleted": 0}
    assert tw("usage", "--by", "activity", "-w", tmp_path / "w", "--json").json[0]["rows"] == FEWEST


def test_budget_is_set_listed_and_removed(tw: Tw, ledger: Path) -> None:
    place = ("-w", ledger)
    answer = tw("budgets", "set", "--team", "pilots", "--usd", 500, "--per", "month", *place)
    assert answer.out == "team pilots may spend $500.00 a month; $428.00 is left\n"
    (row,) = tw("budgets", "list", *place, "--json").json
    assert (row["team"], row["limit_usd"], row["spent_usd"], row["room_usd"]) == ("pilots", 500.0, 72.0, 428.0)
    listed = tw("budgets", "list", *place).out
    assert [word for word in ("pilots", "$500.00", "$72.00", "$428.00", "month") if word not in listed] == []
    assert tw("budgets", "remove", "--team", "pilots", *place).exit_code == 0
    assert tw("budgets", "list", *place).out.startswith("no team has a budget")


def test_budget_that_cannot_be_is_refused(tw: Tw, ledger: Path) -> None:
    for words, said in (
        (("set", "--team", "pilots", "--usd", "-1"), "is not a budget in dollars"),
        (("set", "--team", "pilots", "--usd", "1", "--per", "moth"), "did you mean 'month'?"),
        (("set", "--team", "a b", "--usd", "1"), "is not a name"),
        (("remove", "--team", "pilots"), "team 'pilots' has no budget"),
    ):
        answer = tw("budgets", *words, "-w", ledger)
        assert answer.exit_code == 2
        assert said in answer.err
