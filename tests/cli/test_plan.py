from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Tw

ROOT = Path(__file__).parents[2]
TRAINING = ROOT / "jobs" / "llama_70b.train.yaml"
SERVING = ROOT / "serve_apps" / "llama_70b.yaml"


def test_plan_is_a_table_with_time_dollars_and_their_intervals(tw: Tw, empty: Path) -> None:
    answer = tw("plan", TRAINING, "--deadline", "30d", "--limit", 5, "-w", empty)
    assert answer.exit_code == 0
    for said in (
        "where",
        "machines",
        "90 %",
        "$/M tokens",
        "kg CO2e",
        "candidates on",
        "estimated",
        "tw catalog refresh",
    ):
        assert said in answer.out
    assert len([line for line in answer.out.splitlines() if line[:2].strip().isdigit()]) == 5


def test_plan_explains_costs_and_what_the_others_lack(tw: Tw, empty: Path) -> None:
    answer = tw("plan", TRAINING, "--explain", "--chip", "H100", "--market", "spot", "-w", empty)
    for said in ("memory of a chip", "compute $", "rework $", "offers rejected", "without one of the chips", "assumed"):
        assert said in answer.out


def test_plan_of_an_endpoint_shows_waiting_times(tw: Tw, empty: Path) -> None:
    answer = tw("plan", SERVING, "--residency", "EU", "-w", empty)
    assert answer.exit_code == 0
    for said in ("replicas", "1st token", "between", " ms"):
        assert said in answer.out


def test_plan_is_kept_and_its_json_is_the_record(tw: Tw, empty: Path) -> None:
    plan = tw("plan", TRAINING, "--json", "-w", empty).json
    kept = json.loads((empty / "plans" / f"{plan['plan']}.json").read_text())
    assert kept == plan
    assert plan["placements"][0]["cost_usd"]["value"] <= plan["placements"][1]["cost_usd"]["value"]


def test_page_has_a_chart_of_all_candidates(tw: Tw, empty: Path, tmp_path: Path) -> None:
    assert tw("plan", TRAINING, "--html", tmp_path / "plan.html", "-w", empty).exit_code == 0
    page = (tmp_path / "plan.html").read_text()
    assert "<svg" in page
    assert "Why not the others" in page


def test_weights_change_what_comes_first(tw: Tw, empty: Path) -> None:
    cheap = tw("plan", TRAINING, "--json", "-w", empty).json["placements"][0]
    fast = tw("plan", TRAINING, "--weigh", "time=1", "--json", "-w", empty).json["placements"][0]
    assert fast["hours"]["value"] < cheap["hours"]["value"]
    assert fast["cost_usd"]["value"] > cheap["cost_usd"]["value"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--deadline", "1min"], "hours"),
        (["--budget", "1"], "dollars"),
        (["--carbon", "0.001"], "carbon"),
    ],
)
def test_limit_that_nothing_keeps_names_three_nearest_misses(tw: Tw, empty: Path, words: list[str], said: str) -> None:
    answer = tw("plan", TRAINING, *words, "-w", empty)
    assert answer.exit_code == 2
    assert answer.err.count("nearest: ") == 3
    assert said in answer.err
    assert "hint:" in answer.err
    assert "misses" in json.loads(tw("plan", TRAINING, *words, "--json", "-w", empty).err)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--chip", "H10"], "no chip named 'H10' (did you mean"),
        (["--cloud", "awz"], "no cloud named 'awz' (did you mean 'aws'?)"),
        (["--residency", "EUU"], "residency 'EUU' is nowhere in the catalogue"),
        (["--market", "spots"], "where.markets.0"),
        (["--weigh", "price=1"], "no measure named 'price'"),
        (["--weigh", "cost=much"], "is no weight"),
        (["--data-at", "Mars!"], "is not a place"),
        (["--grid", "no-such-file.csv"], "no-such-file.csv"),
    ],
)
def test_words_that_mean_nothing_are_refused(tw: Tw, empty: Path, words: list[str], said: str) -> None:
    answer = tw("plan", TRAINING, *words, "-w", empty)
    assert (answer.exit_code, said in answer.err) == (2, True), answer.err


def test_dataset_spec_is_not_planned(tw: Tw, empty: Path) -> None:
    answer = tw("plan", ROOT / "jobs" / "pystdlib.dataset.yaml", "-w", empty)
    assert "a dataset spec is not planned" in answer.err


def test_training_on_a_plan_that_is_not_there_names_the_nearest(tw: Tw, filled: Path) -> None:
    answer = tw("train", ROOT / "jobs" / "tiny.train.yaml", "--on", "nothing", "-w", filled)
    assert (answer.exit_code, "no plan named 'nothing'" in answer.err) == (2, True)


def test_placement_that_a_plan_does_not_have_is_refused(tw: Tw, own: Path) -> None:
    plan = tw("plan", TRAINING, "--json", "-w", own).json["plan"]
    assert "is no placement" in tw("train", ROOT / "jobs" / "tiny.train.yaml", "--on", f"{plan}#99", "-w", own).err
