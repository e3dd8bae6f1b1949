"""The second pass over a group of input: documents become shards of tokens, those held out on their own.

What the tokens of a document are and where shards are cut, a form says: that of text, or that of conversations.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from tradewind.datasets.blocks import Tokens
from tradewind.datasets.chat.encoder import ChatEncoder, ChatForm
from tradewind.datasets.corpus.deduplication import ROW_BYTES
from tradewind.datasets.corpus.documents import Content, Document
from tradewind.datasets.corpus.groups import Group
from tradewind.datasets.corpus.packing import Encoder, put_shard, token_type
from tradewind.datasets.corpus.scanning import Advance, Scan, check_of, group_documents
from tradewind.datasets.corpus.scratch import Scratch
from tradewind.datasets.tokenizer import load_tokenizer, vocabulary_of
from tradewind.errors import ConflictError
from tradewind.records import ChatSplit, Shard, Split
from tradewind.records.base import Fact
from tradewind.storage import Store

TOKENIZER = "tokenizer.json"
SPLITS = ("train", "heldout")
BATCH_BYTES = 4 * 2**20
BATCH_DOCUMENTS = 1024


@dataclass(frozen=True)
class TextForm:
    """Documents behind one another, each with the end of text behind it."""

    end_of_text: str

    def encoder(self, tokenizer: bytes, *, what: str) -> Encoder:
        loaded = load_tokenizer(tokenizer, what=what)
        return Encoder(loaded, loaded.get_vocab()[self.end_of_text], token_type(vocabulary_of(loaded)))


Form = TextForm | ChatForm

_encoders: dict[tuple[str, str, Form], Encoder | ChatEncoder] = {}


@dataclass(frozen=True)
class Wanted:
    """What is kept of a group: the documents that were scanned without the rows in `dropped`."""

    group: Group
    scan: Scan
    dropped: bytes

    @property
    def number(self) -> int:
        return self.group.number

    @property
    def num_bytes(self) -> int:
        return self.group.num_bytes

    @property
    def num_dropped(self) -> int:
        return len(self.dropped) // ROW_BYTES

    def read(self, *, content: Content) -> Iterator[Document]:
        """The documents kept. Raises ConflictError at the end when the files have changed since they were scanned."""
        dropped = set(np.frombuffer(self.dropped, dtype="<u4").tolist())
        digests: list[bytes] = []
        for row, document in enumerate(
            itertools.islice(group_documents(self.group, content=content), self.scan.documents)
        ):
            digests.append(document.digest)
            if row not in dropped:
                yield document
        if check_of(digests) != self.scan.check:
            first, *others = self.group.parts
            more = f", or one of {len(others)} files after it," if others else ""
            raise ConflictError(
                f"{first.source.location}{more} changed while it was read", hint="add it when nobody writes to it"
            )


class Encoded(Fact):
    """What a group has become."""

    splits: dict[str, Split]
    text_bytes: int
    chat: dict[str, ChatSplit] = Field(default_factory=dict)

    @property
    def documents(self) -> int:
        return sum(split.documents for split in self.splits.values())

    @property
    def tokens(self) -> int:
        return sum(split.tokens for split in self.splits.values())


@dataclass(frozen=True)
class Encoding:
    """Encodes groups of a dataset. Documents with a digest below `bound` are held out."""

    store: Store
    name: str
    scratch: Scratch
    content: Content
    form: Form
    shard_bytes: int
    bound: bytes

    folder: ClassVar[str] = "groups"

    def __call__(self, wanted: Wanted, advance: Advance) -> Encoded:
        encoder = self._encoder()
        writers = {split: _Writer(self, encoder) for split in SPLITS}
        text_bytes = 0
        for batch in _batches(wanted.read(content=self.content)):
            arrays = encoder.arrays(batch)
            for document, array in zip(batch, arrays, strict=True):
                writers["heldout" if document.digest < self.bound else "train"].write(array)
            size = sum(document.num_bytes for document in batch)
            text_bytes += size
            advance(size)
        splits = {name: writer.end() for name, writer in writers.items()}
        counts = {name: writer.counts for name, writer in writers.items() if writer.counts}
        encoded = Encoded(splits=splits, text_bytes=text_bytes, chat=counts)
        self.scratch.finish(self.record_file(wanted), encoded.model_dump_json().encode())
        return encoded

    def record_file(self, wanted: Wanted) -> str:
        return f"{self.folder}/{wanted.number:06d}.json"

    def _encoder(self) -> Encoder | ChatEncoder:
        """Made once in each process."""
        place = (self.scratch.store.url, self.scratch.prefix, self.form)
        if place not in _encoders:
            made = self.form.encoder(self.scratch.read(TOKENIZER), what=f"dataset {self.name}")
            _encoders.clear()
            _encoders[place] = made
        return _encoders[place]


class _Writer:
    """The shards of one split of a group."""

    def __init__(self, encoding: Encoding, encoder: Encoder | ChatEncoder) -> None:
        self._encoding = encoding
        self._packer = encoder.packer(encoding.shard_bytes)
        self._shards: list[Shard] = []
        self._documents = 0

    @property
    def counts(self) -> ChatSplit | None:
        """What became of conversations."""
        return self._packer.counts

    def write(self, array: Tokens) -> None:
        self._documents += 1
        self._put(self._packer.add(array))

    def end(self) -> Split:
        self._put(self._packer.rest())
        tokens = sum(shard.tokens for shard in self._shards)
        documents = self._documents - (self.counts.dropped if self.counts else 0)
        return Split(shards=tuple(self._shards), documents=documents, tokens=tokens)

    def _put(self, pieces: Iterable[Tokens]) -> None:
        self._shards += [put_shard(self._encoding.store, self._encoding.name, piece) for piece in pieces]


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    held, size = list[Document](), 0
    for document in documents:
        held.append(document)
        size += document.num_bytes
        if size >= BATCH_BYTES or len(held) == BATCH_DOCUMENTS:
            yield held
            held, size = [], 0
    if held:
        yield held
