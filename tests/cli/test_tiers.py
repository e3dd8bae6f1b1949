"""`tw datasets tier` and `lifecycle`."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path

import pytest

from tests.cli.conftest import Tw
from tests.datasets.trading import NAME, add_run, add_versions
from tradewind.datasets import retention
from tradewind.ledger import usage
from tradewind.records import Effort
from tradewind.storage import open_store
from tradewind.storage.classes.table import class_store
from tradewind.testing.gcs import start_gcs
from tradewind.workspace import Workspace


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    versions = add_versions(open_store(str(tmp_path / "ws")), [1, 2], [2, 3], [4])
    add_run(open_store(str(tmp_path / "ws")), "voyage-1", versions[1])
    return tmp_path / "ws"


@pytest.fixture
def bucket(moto_s3: str) -> str:
    url = f"{moto_s3}/{uuid.uuid4().hex}"
    versions = add_versions(open_store(url), [1, 2], [2, 3], [4])
    add_run(open_store(url), "voyage-1", versions[1])
    return url


def test_folder_has_no_tiers(tw: Tw, folder: Path) -> None:
    answer = tw("datasets", "tier", NAME, "-w", folder)
    assert answer.exit_code == 2
    assert "has no storage classes" in answer.err
    assert "--cloud s3" in answer.err


def test_table_says_what_goes_where_and_why_the_rest_stays(tw: Tw, folder: Path) -> None:
    answer = tw("datasets", "tier", NAME, "-w", folder, "--cloud", "s3", "--policy", "days")
    assert answer.exit_code == 0
    assert "hot → archive" in answer.out
    assert "live run voyage-1 on elsewhere" in answer.out
    assert "newest version" in answer.out
    assert "to move: 1 objects" in answer.out
    assert "list prices of us-east-1, 2026-03" in answer.out
    assert "nothing was changed; --apply moves them" in answer.out


def test_row_of_the_ledger_is_an_access(tw: Tw, folder: Path) -> None:
    place = Workspace(str(folder))
    effort = Effort(seconds=1.0, cpu_seconds=1.0, energy_wh=0.0, usd=0.0)
    place.ledger.record([usage("dataset", f"dataset:{NAME}@1", place.machine, effort)])
    answer = tw("datasets", "tier", f"{NAME}@1", "-w", folder, "--cloud", "s3", "--policy", "days")
    assert "hot → archive" not in answer.out
    assert "not accessed for 0 days" in answer.out


def test_unknown_prices_are_said(tw: Tw, folder: Path) -> None:
    answer = tw("datasets", "tier", NAME, "-w", folder, "--cloud", "azure", "--policy", "days", "--after", "10")
    assert "saves unknown a month" in answer.out
    assert "not known: retrieval price of azure Archive" in answer.out
    assert tw("datasets", "tier", NAME, "-w", folder, "--cloud", "azure").out.count("prices are unknown") == 1


def test_json_has_lines_prices_and_what_was_applied(tw: Tw, folder: Path) -> None:
    plain = tw("datasets", "tier", NAME, "-w", folder, "--cloud", "s3", "--policy", "days", "--json").json
    assert (plain["dataset"], plain["cloud"], plain["policy"]) == (NAME, "s3", "after 30 days → archive")
    assert plain["objects_to_move"] == 1
    assert plain["applied"] is None
    assert {line["stays"] for line in plain["lines"]} == {True, False}
    assert all(price["source"] for price in plain["prices"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--after", "5"], "--after is for --policy days"),
        (["--cloud", "s3", "--apply"], "--cloud is only for looking"),
        (["--policy", "days", "--after", "-1", "--cloud", "s3"], "is no number of days"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tw: Tw, folder: Path, words: list[str], says: str) -> None:
    answer = tw("datasets", "tier", NAME, "-w", folder, *words)
    assert answer.exit_code == 2
    assert says in answer.err


def test_apply_moves_what_the_table_says(tw: Tw, bucket: str) -> None:
    answer = tw("datasets", "tier", NAME, "-w", bucket, "--policy", "days", "--apply")
    assert answer.exit_code == 0, answer.err
    assert "the prices are Amazon's, and the bucket is at 127.0.0.1" in answer.out
    assert "moved 1 objects; recorded as tier change:logbook/2" in answer.out
    names = sorted(one.name for one in class_store(open_store(bucket)).list(f"datasets/{NAME}/data"))
    assert names == ["DEEP_ARCHIVE", "STANDARD", "STANDARD", "STANDARD"]
    again = tw("datasets", "tier", NAME, "-w", bucket, "--policy", "days", "--apply", "--json").json
    assert again["objects_to_move"] == 0
    assert again["applied"] is None


def test_reading_what_was_archived_names_the_command(tw: Tw, bucket: str) -> None:
    tw("datasets", "tier", NAME, "-w", bucket, "--policy", "days", "--apply")
    answer = tw("datasets", "verify", f"{NAME}@1", "-w", bucket)
    assert answer.exit_code == 2
    assert f"hint: bring it back first: tw datasets restore {NAME}@1" in answer.err


def test_that_command_brings_it_back(tw: Tw, bucket: str) -> None:
    tw("datasets", "tier", NAME, "-w", bucket, "--policy", "days", "--apply")
    words = ("datasets", "restore", f"{NAME}@1", "-w", bucket)
    before = tw(*words, "--status", "--json").json
    assert (before["archived"], before["hours"], before["readable"]) == (1, 12, False)
    asked = tw(*words)
    assert asked.exit_code == 2
    assert "add --yes" in asked.err
    answer = tw(*words, "--yes", "--wait")
    assert "1 archived objects readable" in answer.out
    assert "readable for 7 days" in answer.out
    assert tw("datasets", "verify", f"{NAME}@1", "-w", bucket).exit_code == 0


def removed_version(url: str) -> None:
    datasets = Workspace(url).datasets
    retention.remove(datasets.store, NAME, 1)


def test_without_boto3_a_removed_version_is_taken_back_and_a_note_says_what_was_not_looked_at(
    tw: Tw, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    removed_version(bucket)
    words = ("datasets", "restore", f"{NAME}@1", "-w", bucket)
    answer = tw(*words)
    assert (answer.exit_code, answer.out) == (0, f"{NAME}@1 is there\n")
    said = answer.err.splitlines()
    assert said[0] == f"{NAME}@1 is taken back"
    assert "storage classes need boto3; pip install 'tradewind[aws]'" in said[1]
    again = tw(*words)
    assert (again.exit_code, "storage classes need boto3" in again.err) == (2, True)
    removed_version(bucket)
    assert tw(*words, "--json").json["version"] == 1
    removed_version(bucket)
    waited = tw(*words, "--wait")
    assert (waited.exit_code, f"{NAME}@1 is taken back" in waited.err) == (2, True)


def test_where_archives_are_read_at_once_classes_are_not_looked_at(tw: Tw, monkeypatch: pytest.MonkeyPatch) -> None:
    with start_gcs("harbour") as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
        monkeypatch.setitem(sys.modules, "tradewind.storage.classes.gs", None)
        add_versions(open_store("gs://harbour/ws"), [1, 2], [2, 3])
        removed_version("gs://harbour/ws")
        for said in (f"{NAME}@1 is taken back", ""):
            answer = tw("datasets", "restore", f"{NAME}@1", "-w", "gs://harbour/ws")
            assert (answer.exit_code, answer.err.strip()) == (0, said)
            assert answer.out.startswith(f"{NAME}@1 is there, none of its shards")


@pytest.mark.parametrize("cloud", ["s3", "gcs", "azure"])
def test_lifecycle_prints_json_alone_and_warns_beside_it(tw: Tw, folder: Path, cloud: str) -> None:
    answer = tw("datasets", "lifecycle", NAME, "--cloud", cloud, "--after", 30, "-w", folder)
    assert json.loads(answer.out)
    assert "this rule sees no live runs" in answer.err
