from __future__ import annotations

from typing import Any

import pytest

from tradewind.errors import SpecError
from tradewind.specs import DatasetSpec

TEXT = {"files": ["*.txt"]}
CHAT = {"files": ["*.jsonl"], "context": 1024}


def dataset(**values: Any) -> DatasetSpec:
    return DatasetSpec.of(name="logbook", **values)


def test_tokenizer_is_trained_unless_one_is_taken() -> None:
    assert dataset(text=TEXT).tokenizer.vocabulary == 2048
    assert dataset(text=TEXT, tokenizer={"from": "other@2"}).tokenizer.from_ == "other@2"
    taken = dataset(text=TEXT, tokenizer={"file": "t.json", "end_of_text": "</s>"}).tokenizer
    assert (taken.file, taken.end_of_text) == ("t.json", "</s>")


@pytest.mark.parametrize(
    ("tokenizer", "complaint"),
    [
        ({"from": "a", "file": "b"}, "give `from` or `file`, not both"),
        ({"from": "a", "vocabulary": 4096}, "leave it out where `from` names one"),
        ({"file": "a", "vocabulary": 4096}, "leave it out where `file` names one"),
        ({"from": "a", "end_of_text": "</s>"}, "end_of_text goes with `file`"),
        ({"end_of_text": "</s>"}, "end_of_text goes with `file`"),
        ({"from": "a b"}, "'a b' is not a name"),
        ({"from_": "a"}, r"unknown key 'from_' in tokenizer \(did you mean 'from'\?\)"),
    ],
)
def test_tokenizers_that_do_not_go_together_are_refused(tokenizer: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        dataset(text=TEXT, tokenizer=tokenizer)


def test_spec_is_written_with_the_words_that_it_is_read_with() -> None:
    spec = dataset(text=TEXT, tokenizer={"from": "other@2"})
    assert "from: other@2" in spec.to_yaml()
    assert DatasetSpec.of(**spec.model_dump(mode="json")) == spec
    assert spec.with_values(tokenizer__from="third").tokenizer.from_ == "third"


def test_spec_of_an_older_record_is_read() -> None:
    old = {
        "name": "logbook",
        "text": {"files": ["*.txt"], "exclude": [], "max_bytes": None},
        "tokenizer": {"vocabulary": 512},
        "heldout_fraction": 0.02,
        "shard_bytes": 16777216,
    }
    assert DatasetSpec.of(**old) == dataset(text=TEXT, tokenizer={"vocabulary": 512})


TABLE = {"splits": {"train": ["*.parquet"]}}


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({}, "give `text`, `table` or `chat`"),
        ({"text": TEXT, "table": TABLE}, "give `text`, `table` or `chat`, not text and table"),
        ({"table": TABLE, "chat": CHAT}, "give `text`, `table` or `chat`, not table and chat"),
        ({"table": TABLE, "tokenizer": {"from": "a"}}, "tokenizer goes with `text` and `chat`, not with `table`"),
        ({"table": TABLE, "shard_bytes": 8192}, "shard_bytes goes with `text`"),
        ({"text": TEXT, "shard_bytes": 8193}, "shard_bytes must be a multiple of 4"),
        ({"chat": CHAT, "shard_bytes": 4096}, "shard_bytes must hold a row of 1024 tokens and one more"),
    ],
)
def test_text_or_table_is_needed_with_what_goes_with_it(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        dataset(**values)


def test_table_reads_back() -> None:
    spec = dataset(table=TABLE)
    assert spec.text is None
    assert DatasetSpec.of(**spec.model_dump(mode="json")) == spec
