from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.datasets.chat.dialogues import CHATML_GENERATION, dialogue, message, write_dialogues, write_tokenizer
from tradewind.datasets import Batches, Dataset, Datasets, Reader, Samples, boundaries
from tradewind.datasets.chat import CONTEXT_BIT, END_BIT, split
from tradewind.datasets.corpus import pipeline
from tradewind.datasets.corpus.packing import put_shard
from tradewind.datasets.tokenizer import END_OF_TEXT
from tradewind.errors import SpecError
from tradewind.specs import DatasetSpec
from tradewind.storage import Store, open_store

CONTEXT = 64
Make = Callable[..., DatasetSpec]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def spec(tmp_path: Path, tokenizer: Path) -> Make:
    """Conversations in a file of JSON lines, for several groups of small shards."""
    write_dialogues(tmp_path / "talks" / "a.jsonl", count=160, turns=3)

    def make(**chat: Any) -> DatasetSpec:
        values = {"files": [f"{tmp_path}/talks/*"], "context": CONTEXT} | chat
        return DatasetSpec.of(
            name="talks", chat=values, tokenizer={"file": str(tokenizer)}, heldout_fraction=0.15, shard_bytes=4096
        )

    return make


def conversations(dataset: Dataset, name: str) -> list[str]:
    """Each conversation as it stands in the rows of a split."""
    rows = Samples(dataset, name, width=CONTEXT + 1)
    parts = [
        split(part)[0].tolist()
        for row in rows.read(range(rows.size))[:, :-1]
        for part in np.split(row, np.flatnonzero(row & END_BIT) + 1)[:-1]
    ]
    return dataset.tokenizer().decode_batch(parts, skip_special_tokens=False)


def end_of(dataset: Dataset) -> int:
    return dataset.tokenizer().get_vocab()[END_OF_TEXT]


def as_written(messages: list[dict[str, Any]]) -> str:
    return "".join(f"<|im_start|>{one['role']}\n{one['content']}<|im_end|>\n" for one in messages) + END_OF_TEXT


def test_every_conversation_is_in_one_row_of_one_split(store: Store, spec: Make) -> None:
    dataset = Datasets(store).add(spec())
    record = dataset.record
    every = [as_written(dialogue(number, turns=3)) for number in range(160)]
    assert record.chat is not None
    counts = record.chat.total
    assert counts.cut > 0
    found = [one for name in record.splits for one in conversations(dataset, name)]
    assert len(found) == record.documents == 160 - counts.dropped
    assert sum(one in every for one in found) == record.documents - counts.cut
    assert len(set(found)) == len(found)
    assert set(conversations(dataset, "heldout")).isdisjoint(conversations(dataset, "train"))


def test_record_tells_template_rows_and_what_they_hold(store: Store, spec: Make) -> None:
    dataset = Datasets(store).add(spec())
    chat = dataset.record.chat
    assert chat is not None
    assert (dataset.record.dtype, chat.context, chat.train_on) == ("uint32", CONTEXT, "assistant")
    assert chat.template == CHATML_GENERATION
    end = end_of(dataset)
    for name, told in chat.splits.items():
        samples = Samples(dataset, name, width=CONTEXT + 1)
        rows = samples.read(range(samples.size))
        ids, trained = split(rows)
        padding = int(np.count_nonzero(rows[:, :-1] == (end | CONTEXT_BIT)))
        assert (told.rows, told.trained, told.padding) == (len(rows), trained[:, 1:].sum(), padding)
        assert not trained[:, [0, -1]].any()
        assert ids.max() < dataset.tokenizer_file.vocabulary


def test_tokens_of_a_row_see_their_conversation_alone(store: Store, spec: Make) -> None:
    dataset = Datasets(store).add(spec())
    samples = Samples(dataset, "train", width=CONTEXT + 1)
    rows = samples.read(range(samples.size))[:, :-1]
    numbers = boundaries(rows, end_of_text=end_of(dataset))
    assert (numbers[:, 0] == 0).all()
    assert ((np.diff(numbers, axis=1) == 1) == (rows[:, :-1] & END_BIT != 0)).all()
    assert numbers.max() > 0


def test_rows_are_shuffled_the_same_for_any_number_of_readers(store: Store, spec: Make) -> None:
    dataset = Datasets(store).add(spec())
    batches = Batches([Samples(dataset, "train", width=CONTEXT + 1)], sequences=4, seed=3)
    alone = [batch.tokens for batch in Reader(batches, epochs=1)]
    ranks = [[batch.tokens for batch in Reader(batches, rank=rank, world=2, epochs=1)] for rank in range(2)]
    for whole, *parts in zip(alone, *ranks, strict=True):
        assert sorted(map(bytes, whole)) == sorted(map(bytes, np.concatenate(parts)))
    assert dataset.verify() > 0


@pytest.mark.parametrize("tokens_per_sequence", [32, 63, 128])
def test_other_rows_than_those_of_the_version_are_refused(store: Store, spec: Make, tokens_per_sequence: int) -> None:
    dataset = Datasets(store).add(spec())
    with pytest.raises(SpecError, match=f"in rows of {CONTEXT} tokens, and not of {tokens_per_sequence}") as caught:
        Samples(dataset, "train", width=tokens_per_sequence + 1)
    assert "tokens_per_sequence to 64" in str(caught.value.hint)


def test_same_conversations_give_the_same_bytes_wherever_they_are_read(
    store: Store, spec: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Datasets(store).add(spec()).record
    assert Datasets(open_store(str(tmp_path / "other"))).add(spec()).record.splits == first.splits
    monkeypatch.setattr(pipeline, "LOCAL_BYTES", 1)  # with the records of finished groups on the store
    again = Datasets(open_store(str(tmp_path / "third"))).add(spec(), on="local").record
    assert (again.splits, again.chat) == (first.splits, first.chat)


def test_equal_conversations_are_kept_once_whatever_file_they_are_in(store: Store, spec: Make, tmp_path: Path) -> None:
    first = Datasets(store).add(spec())
    rows = [dialogue(number, turns=3) for number in range(160)]
    pq.write_table(pa.table({"messages": rows}), tmp_path / "talks" / "b.parquet", row_group_size=16)
    second = Datasets(store).add(spec())
    assert (second.record.documents, second.record.duplicates) == (160, 160)
    assert sorted(conversations(second, "heldout")) == sorted(conversations(first, "heldout"))
    every = Datasets(store).add(spec(deduplicate="none"))
    assert (every.record.documents, every.record.duplicates) == (320, 0)


def test_what_is_too_long_is_dropped_or_refused_when_asked_for(store: Store, spec: Make) -> None:
    cut = Datasets(store).add(spec()).record
    dropped = Datasets(store).add(spec(too_long="drop")).record
    assert cut.chat is not None
    assert dropped.chat is not None
    assert dropped.chat.total.dropped == cut.chat.total.cut + cut.chat.total.dropped > 0
    assert dropped.documents == 160 - dropped.chat.total.dropped
    with pytest.raises(SpecError, match=r"a\.jsonl, line \d+ is a conversation of \d+ tokens, a row has 64"):
        Datasets(store).add(spec(too_long="refuse"))


def test_template_that_refuses_a_line_is_told_with_it_and_no_version_is_left(
    store: Store, spec: Make, tmp_path: Path
) -> None:
    with (tmp_path / "talks" / "a.jsonl").open("a") as file:
        file.write(json.dumps({"messages": [message("harbourmaster", "ahoy"), message("assistant", "aye")]}) + "\n")
    strict = "{% if messages[0].role == 'harbourmaster' %}{{ raise_exception('who is that?') }}{% endif %}"
    with pytest.raises(SpecError, match=r"a\.jsonl, line 161: the chat template refuses it: who is that\?"):
        Datasets(store).add(spec(template=strict + CHATML_GENERATION))
    assert list(Datasets(store).list()) == []


def test_rows_too_short_for_any_answer_are_refused(store: Store, spec: Make) -> None:
    with pytest.raises(SpecError, match=r"no conversation is left for (train|heldout): \d+ have no answer in 8 tokens"):
        Datasets(store).add(spec(context=8))


def test_new_tokenizer_is_trained_on_what_is_said(store: Store, spec: Make) -> None:
    wish = spec().with_values(tokenizer={"vocabulary": 320})
    dataset = Datasets(store).add(wish)
    text = dataset.tokenizer().get_vocab()
    assert "Ġharbour" in text
    assert not any("role" in token or "content" in token for token in text)
    (start, *_) = conversations(dataset, "train")
    assert start.startswith(("<|user|>\n", "<|system|>\n"))
    assert start.endswith(END_OF_TEXT)


def test_tokenizer_without_an_end_of_text_is_refused(store: Store, spec: Make, tokenizer: Path, tmp_path: Path) -> None:
    renamed = tokenizer.read_text().replace("<|endoftext|>", "<|stop|>")
    (tmp_path / "tokenizer.json").write_text(renamed)
    wish = spec().with_values(tokenizer={"file": str(tmp_path / "tokenizer.json")})
    with pytest.raises(SpecError, match="has none of the usual tokens that end a text") as caught:
        Datasets(store).add(wish)
    assert "set tokenizer.end_of_text; its special tokens are: <|stop|>" in str(caught.value.hint)


def test_shards_are_not_appended_to_conversations(store: Store, spec: Make) -> None:
    Datasets(store).add(spec())
    shard = put_shard(store, "talks", np.zeros(CONTEXT + 1, dtype=np.uint32))
    with pytest.raises(SpecError, match="talks@1 holds conversations"):
        Datasets(store).append("talks", {"train": [shard]})
