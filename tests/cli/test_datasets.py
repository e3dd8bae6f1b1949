from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import Tw
from tests.datasets.chat.dialogues import write_dialogues
from tests.reports.conftest import RUN
from tests.samples import dataset_spec, write_text
from tradewind.records import RunEnd
from tradewind.training.run import RunFiles
from tradewind.units import format_count
from tradewind.workspace import Workspace

ROWS = pa.table({"number": [1, 2, 3], "word": ["a", "b", "c"]})


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    """A table of three versions: one, one that grew from it, and one with another column."""
    place = Workspace(str(tmp_path / "ws"))
    place.datasets.add_table("harbour", ROWS)
    place.datasets.append_table("harbour", ROWS.slice(1))
    place.datasets.add_table("harbour", ROWS.rename_columns(["number", "label"]))
    return place


def where(place: Workspace) -> tuple[str, str]:
    return "-w", place.location


def test_tags_are_set_listed_shown_and_resolve(tw: Tw, place: Workspace) -> None:
    assert tw("datasets", "tag", "harbour@2", "golden", *where(place)).out == "harbour@golden is harbour@2\n"
    assert tw("datasets", "tag", "harbour@golden", "golden", *where(place), "--json").json["move"] == 2
    listed = tw("datasets", "list", *where(place), "--json").json
    assert [(one["version"], one["tags"]) for one in listed] == [(1, []), (2, ["golden"]), (3, [])]
    shown = tw("datasets", "show", "harbour@golden", *where(place), "--json").json
    assert (shown["version"], shown["tags"], shown["parents"]) == (2, ["golden"], ["dataset:harbour@1"])
    assert shown["totals"]["train"]["shards"] == 2
    out = tw("datasets", "show", "harbour@golden", *where(place)).out
    for said in ("harbour@2", "golden", "from", "dataset:harbour@1", "5 rows, ", "shards: 2", "column word", "string"):
        assert said in out
    assert tw("datasets", "tag", "harbour", "3", *where(place)).exit_code == 2


def test_listing_is_of_one_dataset_or_all_and_survives_a_damaged_record(tw: Tw, place: Workspace) -> None:
    place.datasets.add_table("anchor", ROWS)
    assert len(tw("datasets", "list", *where(place), "--json").json) == 4
    assert [one["name"] for one in tw("datasets", "list", "anchor", *where(place), "--json").json] == ["anchor"]
    place.store.put("datasets/harbour/versions/000000000002.json", b"{")
    answer = tw("datasets", "list", *where(place))
    assert answer.exit_code == 1
    assert "harbour@2 cannot be read: " in answer.err
    for said in ("anchor@1", "harbour@1", "harbour@3", "damaged", "3 rows"):
        assert said in answer.out
    answer = tw("datasets", "list", *where(place), "--json")
    assert answer.exit_code == 1
    assert ["problem" in one for one in answer.json] == [False, False, True, False]


def test_difference_is_told_to_people_and_to_programs(tw: Tw, place: Workspace) -> None:
    told = tw("datasets", "diff", "harbour@1", "harbour@2", *where(place), "--json").json
    assert (told["is_parent"], told["same"], told["columns"]) == (True, False, {})
    train = told["splits"]["train"]
    assert (train["added"], train["removed"], train["shared"], train["rows"]) == (1, 0, 1, [3, 5])
    told = tw("datasets", "diff", "harbour@1", "harbour", *where(place), "--json").json
    assert told["columns"] == {"word": ["string", None], "label": [None, "string"]}
    out = tw("datasets", "diff", "harbour@1", "harbour@3", *where(place)).out
    for said in ("harbour@1 → harbour@3", "column word", "column label", "string", "train"):
        assert said in out
    assert "its parent" in tw("datasets", "diff", "harbour@1", "harbour@2", *where(place)).out
    assert "both hold the same bytes" in tw("datasets", "diff", "harbour@1", "harbour@1", *where(place)).out


def test_difference_of_texts_names_tokenizer_and_wish(tw: Tw, place: Workspace, tmp_path: Path) -> None:
    spec = dataset_spec(write_text(tmp_path / "text"))
    place.datasets.add(spec)
    place.datasets.add(spec.with_values(tokenizer__vocabulary=300))
    told = tw("datasets", "diff", "logbook@1", "logbook@2", *where(place), "--json").json
    assert told["tokenizer_is_same"] is False
    assert told["spec"] == {"tokenizer.vocabulary": [320, 300]}
    out = tw("datasets", "diff", "logbook@1", "logbook@2", *where(place)).out
    for said in ("spec tokenizer.vocabulary", "320", "300", "tokenizer", "another"):
        assert said in out


def test_versions_stand_in_the_order_of_their_numbers(tw: Tw, place: Workspace) -> None:
    for _ in range(8):
        place.datasets.add_table("harbour", ROWS)
    out = tw("datasets", "gc", "harbour", "--keep", 2, "--dry-run", *where(place)).out
    numbers = [int(number) for number in re.findall(r"harbour@(\d+)", out)]
    assert numbers == list(range(1, 12))


def test_versions_go_and_come_back(tw: Tw, place: Workspace) -> None:
    dry = tw("datasets", "gc", "harbour", "--keep", 1, "--dry-run", *where(place))
    assert "nothing is changed" in dry.out
    assert "would delete 0 files" in dry.out
    done = tw("datasets", "gc", "harbour", "--keep", 1, *where(place))
    for said in ("harbour@1", "removed", "kept: among the newest 1", "deleted 0 files"):
        assert said in done.out
    answer = tw("datasets", "show", "harbour@1", *where(place))
    assert (answer.exit_code, "harbour@1 was removed on" in answer.err) == (2, True)
    assert "tw datasets restore harbour@1" in answer.err
    listed = tw("datasets", "list", "--removed", *where(place), "--json").json
    assert ["removed_at" in one for one in listed] == [True, True, False]
    assert "removed 20" in tw("datasets", "list", "--removed", *where(place)).out
    assert tw("datasets", "restore", "harbour@1", *where(place)).out.startswith("harbour@1 is there")
    assert [one["version"] for one in tw("datasets", "list", *where(place), "--json").json] == [1, 3]
    swept = tw("datasets", "gc", "harbour", "--keep", 1, "--grace", 0, *where(place), "--json").json
    assert (swept["removed"], swept["num_files"]) == ([1], 2)
    answer = tw("datasets", "restore", "harbour@2", *where(place))
    assert (answer.exit_code, "2 of its files are gone" in answer.err) == (1, True)


@pytest.mark.parametrize("words", [("--keep", 0), ("--keep", 1, "--grace", -1), ("--keep", 1, "--grace", 1e9)])
def test_limits_that_make_no_sense_are_refused(tw: Tw, place: Workspace, words: tuple[object, ...]) -> None:
    answer = tw("datasets", "gc", "harbour", *words, *where(place))
    assert answer.exit_code == 2
    assert "hint: " in answer.err


def test_versions_of_live_runs_and_of_models_stay(own: Path) -> None:
    """The run of the journey read pystdlib@1, and has ended; a model is made from that version."""
    place = Workspace(str(own))
    spec = dataset_spec(write_text(own.parent / "more", documents=8, words=50), name="pystdlib")
    place.datasets.add(spec)
    place.datasets.add(spec)

    def kept() -> dict[int, str]:
        return place.datasets.gc("pystdlib", keep=1, grace=timedelta(0), dry_run=True).kept

    assert kept() == {3: "among the newest 1"}
    place.models.add(
        "taught", {"a": b""}, parents=("dataset:pystdlib@2",), family="llama", parameters=1, context=1,
        heldout_loss=None, card={},
    )  # fmt: skip
    assert kept() == {2: "in use", 3: "among the newest 1"}
    files = RunFiles(place.store, RUN)
    assert isinstance(files.end(), RunEnd)
    start = files.start()
    from tradewind.clusters import this_process

    place.store.put(
        "runs/live/run.json",
        start.model_copy(update={"run": "live", "dataset": "pystdlib@1", "process": this_process()}).to_json(),
    )
    assert kept() == {1: "in use", 2: "in use", 3: "among the newest 1"}


def test_conversations_of_a_spec_are_added_and_told(tw: Tw, tmp_path: Path) -> None:
    write_dialogues(tmp_path / "talks.jsonl", count=40)
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        f"kind: dataset\nname: talks\nheldout_fraction: 0.2\ntokenizer: {{vocabulary: 300}}\n"
        f"chat:\n  files: [{tmp_path}/talks.jsonl]\n  context: 64\n"
    )
    place = Workspace(str(tmp_path / "ws"))
    added = tw("datasets", "add", spec, *where(place)).out.splitlines()
    chat = place.datasets.get("talks").record.chat
    assert chat is not None
    assert added[0].endswith(f" tokens from {40 - chat.total.dropped} conversations")
    assert added[1].endswith(f", {chat.total.dropped} left out")
    assert added[1].startswith(f"in rows of 64 tokens: {chat.total.rows} rows, ")
    assert f", {chat.total.cut} conversations cut at the end of a row" in added[1]
    shown = " ".join(tw("datasets", "show", "talks", *where(place)).out.split())
    assert "row 64 tokens, learned: assistant" in shown
    for name, split in chat.splits.items():
        assert f"rows of {name} {split.rows} rows, {format_count(split.trained)} tokens are trained on, " in shown
        assert f"{split.padding / split.rows / 64:.1%} is padding" in shown


def test_table_of_a_spec_is_added(tw: Tw, tmp_path: Path) -> None:
    for name, rows in (("train", ROWS), ("test", ROWS.slice(1))):
        pq.write_table(rows, tmp_path / f"{name}.parquet")
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        f"kind: dataset\nname: harbour\ntable:\n  splits:\n"
        f"    train: [{tmp_path}/train.parquet]\n    test: [{tmp_path}/te*.parquet]\n"
    )
    place = Workspace(str(tmp_path / "ws"))
    assert tw("datasets", "add", spec, *where(place)).out == "harbour@1: 5 rows\n"
    record = place.datasets.get("harbour").record
    assert {name: split.rows for name, split in record.splits.items()} == {"train": 3, "test": 2}
    assert record.spec["table"]["splits"]["test"] == [f"{tmp_path}/te*.parquet"]
    assert [row.subject for row in place.usage()] == ["dataset:harbour@1"]
    place.datasets.add_table("harbour", ROWS)
    assert [row.subject for row in place.usage()] == ["dataset:harbour@1", "dataset:harbour@2"]
