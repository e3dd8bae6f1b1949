"""The datasets of a workspace: write a version, find one, list them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tradewind import progress
from tradewind.datasets.dataset import Dataset, Tokens
from tradewind.datasets.text import Document, find_documents, read_text, split_heldout
from tradewind.datasets.tokenizer import END_OF_TEXT, train_tokenizer
from tradewind.errors import NotFoundError, SpecError, did_you_mean
from tradewind.records import DatasetVersion, Shard, Split, TokenizerFile
from tradewind.specs import DatasetSpec, Reference
from tradewind.storage import RecordLog, Store, put_content
from tradewind.units import format_bytes, format_count

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FOLDER = "datasets"
ENCODE_AT_ONCE = 64
UINT16_VOCABULARY = 65536


@dataclass(frozen=True)
class Datasets:
    store: Store

    def names(self) -> list[str]:
        return sorted({item.key.split("/")[1] for item in self.store.list(FOLDER) if "/versions/" in item.key})

    def list(self) -> Iterator[DatasetVersion]:
        """Every version of every dataset, oldest first by name."""
        for name in self.names():
            yield from self._log(name).all()

    def get(self, reference: str) -> Dataset:
        """Open `name@version`, or the newest version of `name`. Raises NotFoundError with what there is."""
        wanted = Reference.parse(reference)
        if wanted.alias:
            raise SpecError(
                f"{reference!r}: datasets have versions and no aliases", hint=f"write {wanted.name}, or {wanted.name}@1"
            )
        numbers = self._log(wanted.name).numbers()
        if not numbers:
            raise NotFoundError(f"no dataset named {wanted.name!r}{did_you_mean(wanted.name, self.names())}")
        version = wanted.version or numbers[-1]
        if version not in numbers:
            raise NotFoundError(f"{wanted.name} has no version {version}", hint=f"the newest is {numbers[-1]}")
        return Dataset(self.store, self._log(wanted.name).read(version))

    def add(self, spec: DatasetSpec) -> Dataset:
        """Read the text, train the tokenizer, write the shards, and last the version that makes them visible.

        A call that is cut short leaves no version behind; the same call again reuses the shards that it had written.
        """
        documents = find_documents(spec.text)
        training, heldout = split_heldout(documents, spec.heldout_fraction)
        tokenizer = _train(training, spec)
        writer = _Writer(self.store, spec, tokenizer)
        splits = {"train": writer.write(training, "train"), "heldout": writer.write(heldout, "heldout")}
        data = tokenizer.to_str().encode()
        stored = put_content(self.store, f"{FOLDER}/{spec.name}/data", data, suffix=".json")
        tokenizer_file = TokenizerFile(
            **stored.model_dump(), vocabulary=tokenizer.get_vocab_size(), end_of_text=END_OF_TEXT
        )
        record = self._log(spec.name).append(
            lambda version, unique: DatasetVersion(
                name=spec.name,
                version=version,
                writer=unique,
                dtype=writer.dtype,
                splits=splits,
                tokenizer=tokenizer_file,
                text_bytes=sum(document.num_bytes for document in documents),
                spec=spec.model_dump(mode="json"),
            )
        )
        return Dataset(self.store, record)

    def _log(self, name: str) -> RecordLog[DatasetVersion]:
        return RecordLog(self.store, f"{FOLDER}/{name}/versions", DatasetVersion)


def _train(documents: Sequence[Document], spec: DatasetSpec) -> Tokenizer:
    total = sum(document.num_bytes for document in documents)
    note = f"{format_count(len(documents))} files, {format_bytes(total)}"
    with progress.track("tokenizer", total=total) as bar:
        bar.advance(0, note=note)
        return train_tokenizer(_texts(documents, bar), vocabulary=spec.tokenizer.vocabulary)


def _texts(documents: Iterable[Document], bar: progress.Bar) -> Iterator[str]:
    for document in documents:
        yield read_text(document)
        bar.advance(document.num_bytes)


class _Writer:
    """Encodes documents and cuts their token ids into shards of a fixed size."""

    def __init__(self, store: Store, spec: DatasetSpec, tokenizer: Tokenizer) -> None:
        self._store = store
        self._prefix = f"{FOLDER}/{spec.name}/data"
        self._tokenizer = tokenizer
        self._end = tokenizer.token_to_id(END_OF_TEXT)
        self.dtype: str = "uint16" if tokenizer.get_vocab_size() <= UINT16_VOCABULARY else "uint32"
        self._per_shard = spec.shard_bytes // np.dtype(self.dtype).itemsize

    def write(self, documents: Sequence[Document], split: str) -> Split:
        shards: list[Shard] = []
        held: list[Tokens] = []
        with progress.track(f"{split} shards", total=sum(document.num_bytes for document in documents)) as bar:
            for start in range(0, len(documents), ENCODE_AT_ONCE):
                some = documents[start : start + ENCODE_AT_ONCE]
                held.extend(self._encode(some))
                while sum(map(len, held)) >= self._per_shard:
                    joined = np.concatenate(held)
                    shards.append(self._store_shard(joined[: self._per_shard]))
                    held = [joined[self._per_shard :]]
                bar.advance(sum(document.num_bytes for document in some))
            rest = np.concatenate(held)
            if len(rest):
                shards.append(self._store_shard(rest))
            tokens = sum(shard.tokens for shard in shards)
            bar.advance(0, note=f"{format_count(len(documents))} documents, {format_count(tokens)} tokens")
        return Split(shards=tuple(shards), documents=len(documents), tokens=tokens)

    def _encode(self, documents: Sequence[Document]) -> Iterator[Tokens]:
        for encoding in self._tokenizer.encode_batch_fast([read_text(document) for document in documents]):
            yield np.array([*encoding.ids, self._end], dtype=self.dtype)

    def _store_shard(self, tokens: Tokens) -> Shard:
        data = tokens.astype(tokens.dtype.newbyteorder("<")).tobytes()
        stored = put_content(self._store, self._prefix, data, suffix=".tok")
        return Shard(**stored.model_dump(), tokens=len(tokens))
