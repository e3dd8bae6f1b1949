from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Tw, fill
from tests.reports.conftest import RUN
from tests.samples import dataset_spec, write_text
from tests.tuning.sweeps import SPEC, events, start
from tradewind.clusters import this_process
from tradewind.records import SweepEvent, SweepPage, SweepResumed
from tradewind.records.sweep import TrialStart
from tradewind.tuning.journal import SweepFiles
from tradewind.workspace import Workspace

SWEEP = "lr-sweep-20261126-120000"


def keep(place: Workspace, told: list[SweepEvent], *, process: Any = None, **changes: Any) -> None:
    """Write a sweep's records, as a driver would: by default one that is gone."""
    first = start(**changes)
    process = process or first.process.model_copy(update={"host": socket.gethostname()})
    first = first.model_copy(update={"process": process})
    told = [one.model_copy(update={"process": process}) if isinstance(one, SweepResumed) else one for one in told]
    files = SweepFiles(place.store, first.sweep)
    place.store.create(files.key("sweep.json"), first.to_json())
    for number, at in enumerate(range(0, len(told), 10), 1):
        page = SweepPage(sweep=first.sweep, number=number, process=process, events=tuple(told[at : at + 10]))
        place.store.create(files.pages.key(number), page.to_json())


@pytest.fixture
def ended(tmp_path: Path) -> Path:
    place = Workspace(str(tmp_path / "ended"))
    keep(place, events(ended=True))
    return tmp_path / "ended"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({"kind": "tune", **SPEC}, sort_keys=False))
    return path


def test_sweep_is_shown_with_the_best_the_money_the_price_and_all_trials(tw: Tw, ended: Path) -> None:
    answer = tw("tune", "show", SWEEP, "-w", ended)
    assert (answer.exit_code, answer.err) == (0, "")
    for text in ("at step 160: learning rate", "of $0.50 and", "cap 80%", "step 20: 18 in", "workers lost", "finished"):
        assert text in answer.out
    assert len(re.findall(r"^ +\d+ (?:finished|pruned|failed) ", answer.out, re.MULTILINE)) == 20
    assert tw("tune", "show", "last", "-w", ended).out == answer.out


def test_sweep_for_programs_has_its_trials_and_its_guards(tw: Tw, ended: Path) -> None:
    found = tw("tune", "show", SWEEP, "-w", ended, "--json").json
    assert (found["status"], len(found["trials"]), found["budget_usd"]) == ("finished", 20, 0.5)
    assert found["best"]["objective"] == min(one["objective"] for one in found["trials"] if one["objective"])
    assert [one["action"] for one in found["guards"]] == ["spot", "pause", "spot", "run"]


def test_sweep_that_has_ended_is_followed_to_its_end_at_once(tw: Tw, ended: Path) -> None:
    answer = tw("tune", "show", SWEEP, "--follow", "-w", ended)
    assert answer.exit_code == 0
    assert answer.err.startswith("trials 20 of 24: ")
    assert "best" in answer.out


def test_sweeps_are_listed_with_what_they_found(tw: Tw, ended: Path) -> None:
    answer = tw("tune", "list", "-w", ended)
    assert re.search(
        rf"{SWEEP} +finished +2026-11-26 12:00 +20 of 24 +heldout_loss +3\.\d+ +\$0\.05 +\$0\.45", answer.out
    )
    (found,) = tw("tune", "list", "-w", ended, "--json").json
    assert (found["sweep"], found["trials"], found["status"]) == (SWEEP, 20, "finished")


def test_workspace_without_sweeps_says_how_to_start_one(tw: Tw, empty: Path) -> None:
    assert tw("tune", "list", "-w", empty).out == "no sweeps yet; start one: tw tune SPEC\n"
    assert tw("tune", "list", "-w", empty, "--json").json == []
    answer = tw("tune", "show", "last", "-w", empty)
    assert (answer.exit_code, "there is no sweep yet" in answer.err) == (2, True)


def test_sweep_whose_driver_is_gone_is_stopped(tw: Tw, tmp_path: Path) -> None:
    keep(Workspace(str(tmp_path / "gone")), events())
    assert tw("tune", "show", SWEEP, "-w", tmp_path / "gone", "--json").json["status"] == "stopped"
    answer = tw("tune", "stop", SWEEP, "-w", tmp_path / "gone")
    assert (answer.exit_code, "it is stopped" in answer.err) == (2, True)


def test_running_sweep_is_asked_to_stop_once(tw: Tw, tmp_path: Path) -> None:
    place = Workspace(str(tmp_path / "ws"))
    keep(place, events()[:30], process=this_process())
    assert tw("tune", "stop", "last", "-w", tmp_path / "ws").out == f"{SWEEP} stops behind the next checkpoints\n"
    assert SweepFiles(place.store, SWEEP).is_asked_to_stop()


def test_report_is_written_where_it_is_wanted(tw: Tw, ended: Path, tmp_path: Path) -> None:
    answer = tw("tune", "report", SWEEP, "-w", ended, "-o", tmp_path / "page.html", "--json")
    page = Path(answer.json["path"]).read_text()
    assert page == (tmp_path / "page.html").read_text()
    assert "Values and what came of them" in page


class TestBest:
    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        """A sweep whose best trial is the run of a journey, of which there are all records."""
        folder = fill(tmp_path / "journey")
        told = [
            event.model_copy(update={"run": RUN}) if isinstance(event, TrialStart) else event
            for event in events(ended=True)
        ]
        keep(Workspace(str(folder)), told)
        return folder

    def test_best_trial_is_shown_with_its_values_and_its_run(self, tw: Tw, place: Path) -> None:
        answer = tw("tune", "best", SWEEP, "-w", place)
        assert (answer.exit_code, answer.err) == (0, "")
        for text in ("held-out loss", "optimizer.learning_rate", "adamw", RUN, "step"):
            assert text in answer.out
        found = tw("tune", "best", SWEEP, "-w", place, "--json").json
        assert (found["run"], found["model"]) == (RUN, None)
        assert found["values"]["optimizer.kind"] == "adamw"

    def test_alias_without_a_model_is_refused(self, tw: Tw, place: Path) -> None:
        answer = tw("tune", "best", SWEEP, "--alias", "prod", "-w", place)
        assert (answer.exit_code, "hint: add --register MODEL to --alias prod" in answer.err) == (2, True)

    def test_sweep_without_a_result_has_no_best(self, tw: Tw, tmp_path: Path) -> None:
        keep(Workspace(str(tmp_path / "ws")), [])
        answer = tw("tune", "best", SWEEP, "-w", tmp_path / "ws")
        assert (answer.exit_code, f"sweep {SWEEP} has no result yet" in answer.err) == (2, True)


class TestRefusal:
    def test_sweep_that_is_not_there_is_named_with_the_nearest(self, tw: Tw, ended: Path) -> None:
        answer = tw("tune", "show", SWEEP.replace("sweep", "swep"), "-w", ended)
        assert (answer.exit_code, f"did you mean '{SWEEP}'?" in answer.err) == (2, True)

    def test_command_that_is_mistyped_is_no_file(self, tw: Tw, ended: Path) -> None:
        answer = tw("tune", "shw", SWEEP, "-w", ended)
        assert (answer.exit_code, "No such command 'shw'" in answer.err) == (2, True)

    @pytest.mark.parametrize("words", [("tune",), ("tune", "start")])
    def test_file_that_is_not_there_is_said_with_and_without_the_word_start(
        self, tw: Tw, empty: Path, words: tuple[str, ...]
    ) -> None:
        answer = tw(*words, "/nowhere.yaml", "-w", empty)
        assert (answer.exit_code, "/nowhere.yaml" in answer.err) == (2, True)

    def test_limit_that_is_none_is_refused_before_anything_starts(self, tw: Tw, empty: Path, spec: Path) -> None:
        answer = tw("tune", spec, "--budget", "-1", "-w", empty)
        assert (answer.exit_code, "budget_usd" in answer.err) == (2, True)
        assert not empty.exists()

    def test_empty_space_is_refused_with_the_line(self, tw: Tw, empty: Path, tmp_path: Path) -> None:
        path = tmp_path / "empty.yaml"
        path.write_text("kind: tune\nname: a\ntrain: {name: a, dataset: d}\nspace: {}\n")
        answer = tw("tune", path, "-w", empty)
        assert (answer.exit_code, "space is empty" in answer.err) == (2, True)

    def test_dataset_that_is_not_there_is_named(self, tw: Tw, empty: Path, spec: Path) -> None:
        answer = tw("tune", spec, "-w", empty)
        assert (answer.exit_code, "no dataset named 'pystdlib'" in answer.err) == (2, True)


@pytest.mark.slow
def test_sweep_runs_to_its_end_and_its_best_trial_becomes_a_model(tw: Tw, tmp_path: Path) -> None:
    place, path = tmp_path / "ws", tmp_path / "sweep.yaml"
    Workspace(str(place)).datasets.add(dataset_spec(write_text(tmp_path / "text", documents=12), name="logbook"))
    train = {
        "name": "pilot", "dataset": "logbook", "workers": 1, "max_steps": 6, "checkpoint_every_s": 0.01,
        "model": {"hidden": 16, "layers": 1, "heads": 2}, "batch": {"sequences": 2, "tokens_per_sequence": 8},
    }  # fmt: skip
    space = {"optimizer.learning_rate": {"choice": [0.001, 0.003, 0.01]}}
    path.write_text(yaml.safe_dump({"kind": "tune", "name": "rates", "train": train, "space": space, "trials": 1}))
    assert tw("tune", path, "-w", place).exit_code == 0
    answer = tw("tune", "resume", "rates", "--trials", 2, "-w", place, "--json")
    assert (answer.exit_code, answer.json["status"], len(answer.json["trials"])) == (0, "finished", 2)
    best = tw("tune", "best", "last", "--register", "pilot", "--alias", "prod", "-w", place, "--json").json
    assert best["model"] == "pilot@1"
    record = Workspace(str(place)).models.get("pilot@prod").record
    assert f"run:{best['run']}" in record.parents
