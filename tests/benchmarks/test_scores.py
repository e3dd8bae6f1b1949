"""From runs to figures: what counts, what is compared, and that nothing wrong is told as fast."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.scores import Runs, is_right, summary, targets
from benchmarks.tables import print_tables

PEERS = ("litdata", "mosaic")


def run(mtok_per_s: float = 0.0, **figures: Any) -> dict[str, Any]:
    checks = {"missing": 0, "repeated": 0, "damaged": 0}
    return {"load": 0.1, "tokens_per_s": mtok_per_s * 1e6, **checks, **figures}


def runs() -> Runs:
    return {
        "tradewind": {
            "cold": [run(300, first_batch_s=0.05), run(100, first_batch_s=0.2), run(200, first_batch_s=0.1)],
            "resume": [run(exact=True, first_batch_s=0.01)],
        },
        "litdata": {"cold": [run(80)], "warm": [{"load": 0.1, "error": "ended by SIGSEGV: "}]},
        "mosaic": {"cold": [run(20)]},
    }


def test_target_has_the_median() -> None:
    found = targets(runs(), PEERS)
    assert found["cold_mtok_per_s"] == {"value": 200, "target": 150, "better": "higher"}
    assert found["first_batch_cold_s"]["value"] == 0.1


def test_ratio_is_to_the_best_peer() -> None:
    assert targets(runs(), PEERS)["cold_over_best_peer"]["value"] == 2.5


def test_what_was_not_measured_has_no_value() -> None:
    found = targets(runs(), PEERS)
    assert found["warm_over_best_peer"]["value"] is None
    assert found["open_manifest_100k_shards_s"]["value"] is None
    assert {one["value"] for one in targets({}, PEERS).values()} == {None}


@pytest.mark.parametrize("wrong", [{"missing": 1}, {"repeated": 1}, {"damaged": 1}, {"error": "no end within 300 s"}])
def test_wrong_reading_is_not_compared(wrong: dict[str, Any]) -> None:
    assert is_right(run(1), "cold")
    assert not is_right(run(1, **wrong), "cold")
    found = targets({**runs(), "litdata": {"cold": [run(80, **wrong)]}}, PEERS)
    assert found["cold_over_best_peer"]["value"] == 10


def test_reading_that_ends_early_on_purpose_is_right() -> None:
    assert is_right(run(1, missing=38_272), "save")


@pytest.mark.parametrize("wrong", [{"missing": 1}, {"exact": False}])
def test_resumption_is_exact_only_when_nothing_is_lost(wrong: dict[str, Any]) -> None:
    assert targets(runs(), PEERS)["resume_exact"]["value"] == 1
    lossy = {"tradewind": {"resume": [run(exact=True), run(**{"exact": True, **wrong})]}}
    assert targets(lossy, PEERS)["resume_exact"]["value"] == 0


def test_summary_is_json_with_range_and_errors() -> None:
    found = json.loads(json.dumps(summary(runs())))
    assert found["tradewind"]["cold"]["first_batch_s"] == {"median": 0.1, "low": 0.05, "high": 0.2}
    assert found["litdata"]["warm"]["errors"] == ["ended by SIGSEGV: "]


def test_tables_show_failures_and_losses(capsys: pytest.CaptureFixture[str]) -> None:
    told = runs()
    told["mosaic"]["cold"] = [run(20, missing=3)]
    print_tables(told, ())
    shown = capsys.readouterr().out
    assert "200 (100–300)" in shown
    assert "failed" in shown
    assert "mosaic cold: 3 missing sequences" in shown
