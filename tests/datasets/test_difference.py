from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from tests.datasets.test_versions import commit, shard_of
from tests.samples import dataset_spec, write_text
from tradewind.datasets import Datasets
from tradewind.datasets.difference import compare
from tradewind.storage import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def test_shards_are_counted_as_often_as_they_stand(store: Store) -> None:
    datasets = Datasets(store)
    first = commit(store, 1)
    grown = datasets.append("tide", {"train": [shard_of(store, "tide", 1), shard_of(store, "tide", 2, 3)]})
    found = compare(first, grown).splits["train"]
    assert (found.added, found.removed, found.shared) == (2, 0, 1)
    assert found.tokens == (1, 4)
    assert found.bytes_added == found.num_bytes[1] - found.num_bytes[0]
    back = compare(grown, first)
    assert (back.splits["train"].added, back.splits["train"].removed) == (0, 2)
    assert (back.is_parent, compare(first, grown).is_parent) == (False, True)


def test_a_split_may_come_and_go(store: Store) -> None:
    one, other = commit(store, 1), commit(store, 1, split="heldout")
    splits = compare(one, other).splits
    assert (splits["train"].tokens, splits["train"].removed) == ((1, None), 1)
    assert (splits["heldout"].tokens, splits["heldout"].added) == ((None, 1), 1)


def test_same_bytes_are_the_same_whatever_they_are_called(store: Store) -> None:
    assert compare(commit(store, 1, 2), commit(store, 1, 2, name="wave")).is_same
    assert not compare(commit(store, 1, 2), commit(store, 2, 1)).is_same


def test_columns_format_tokenizer_and_wish_are_compared(store: Store, tmp_path: Path) -> None:
    datasets = Datasets(store)
    spec = dataset_spec(write_text(tmp_path / "text"))
    text = datasets.add(spec)
    table = datasets.add_table("logbook", pa.table({"a": [1], "b": ["x"]}))
    found = compare(text, table)
    assert (found.format, found.dtype) == (("tokens", "table"), ("uint16", None))
    assert found.columns == {"a": (None, "int64"), "b": (None, "string")}
    assert not found.tokenizer_is_same
    assert found.spec["text.files"] == ([f"{tmp_path}/text/**/*.txt"], None)
    other = datasets.add(spec.with_values(heldout_fraction=0.3))
    assert compare(text, other).spec == {"heldout_fraction": (0.15, 0.3)}
    assert json.loads(json.dumps(found.to_dict()))["same"] is False
