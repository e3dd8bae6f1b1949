"""Rendered conversations become tokens with their marks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tradewind.datasets.blocks import Tokens
from tradewind.datasets.chat.conversations import read_conversation
from tradewind.datasets.chat.marks import CONTEXT_BIT, DTYPE, END_BIT, MOST_TOKENS
from tradewind.datasets.chat.rows import RowPacker
from tradewind.datasets.chat.template import ChatTemplate, Piece
from tradewind.datasets.corpus.documents import Document
from tradewind.datasets.corpus.packing import batched
from tradewind.datasets.tokenizer import load_tokenizer, vocabulary_of
from tradewind.errors import SpecError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Marks = NDArray[np.bool_]


@dataclass(frozen=True)
class ChatForm:
    """How conversations become shards: an encoder for them, and what lays them in rows."""

    template: ChatTemplate
    context: int
    train_on: Literal["assistant", "all"]
    too_long: Literal["cut", "drop", "refuse"]
    end_of_text: str

    def encoder(self, tokenizer: bytes, *, what: str) -> ChatEncoder:
        """Raises SpecError for a tokenizer with more tokens than marks leave room for."""
        words, commands = load_tokenizer(tokenizer, what=what), load_tokenizer(tokenizer, what=what)
        if vocabulary_of(words) > MOST_TOKENS:
            raise SpecError(f"the tokenizer has more than {MOST_TOKENS} tokens", hint="choose a smaller one")
        commands.encode_special_tokens = False
        commands.post_processor = None  # it adds nothing here, and the usual ones take blanks out of a token's place
        special = tuple(token.content for token in commands.get_added_tokens_decoder().values() if token.special)
        return ChatEncoder(
            commands,
            words,
            end=words.get_vocab()[self.end_of_text],
            template=replace(self.template, forbidden=special),
            form=self,
        )


@dataclass(frozen=True)
class ChatEncoder:
    """`tokenizer` finds special tokens in what it encodes, `words` takes them as text."""

    tokenizer: Tokenizer
    words: Tokenizer
    end: int
    template: ChatTemplate
    form: ChatForm

    def packer(self, shard_bytes: int) -> RowPacker:
        form = self.form
        return RowPacker(context=form.context, end=self.end, shard_bytes=shard_bytes, cuts=form.too_long == "cut")

    def arrays(self, documents: Sequence[Document]) -> Iterator[Tokens]:
        """The tokens of each conversation, the end of text behind them. Raises SpecError for one that is refused."""
        read = [read_conversation(document.text) for document in documents]
        runs = [
            list(_runs(self.template.render(conversation, where=document.place)))
            for conversation, document in zip(read, documents, strict=True)
        ]
        encoded = self._encoded([run for some in runs for run in some])
        for conversation, document, some in zip(read, documents, runs, strict=True):
            parts = [next(encoded) for _ in some]
            ids = np.concatenate([part for part, _ in parts])
            learned = np.concatenate([marks for _, marks in parts])
            array = self._marked(ids, learned, ends_with_answer=conversation.ends_with_answer)
            if self.form.too_long == "refuse" and len(array) > self.form.context:
                raise SpecError(
                    f"{document.place} is a conversation of {len(array)} tokens, a row has {self.form.context}",
                    hint="raise chat.context, or choose too_long: cut or drop",
                )
            yield array

    def _marked(self, ids: Tokens, learned: Marks, *, ends_with_answer: bool) -> Tokens:
        """The end of text is learned behind an answer. The first token is not: there is nothing that it follows."""
        if ids[-1] != self.end:
            ids, learned = np.append(ids, self.end).astype(DTYPE), np.append(learned, ends_with_answer)
        learned = learned | (self.form.train_on == "all")
        learned[0] = False
        marked: Tokens = np.where(learned, ids, ids | CONTEXT_BIT).astype(DTYPE)
        marked[-1] |= END_BIT
        return marked

    def _encoded(self, runs: Sequence[_Run]) -> Iterator[tuple[Tokens, Marks]]:
        waiting = iter(self._encodings([run.text for run in runs if not run.is_word]))
        for run in runs:
            encoding = self.words.encode(run.text, add_special_tokens=False) if run.is_word else next(waiting)
            yield np.array(encoding.ids, dtype=DTYPE), run.learned(encoding)

    def _encodings(self, texts: list[str]) -> Iterator[Any]:
        for some in batched(texts):
            yield from self.tokenizer.encode_batch(some, add_special_tokens=False)


@dataclass(frozen=True)
class _Run:
    """Pieces that are encoded as one text, so that tokens are those of the model's use."""

    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    @property
    def is_word(self) -> bool:
        return self.pieces[0].is_word

    def learned(self, encoding: Any) -> Marks:
        """Whether a token has a character of an answer, as `transformers` decides for one between two pieces."""
        answers = np.repeat([piece.is_answer for piece in self.pieces], [len(piece.text) for piece in self.pieces])
        before = np.concatenate([[0], np.cumsum(answers)])
        places = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        starts, ends = places[:, 0], np.maximum(places[:, 1], np.minimum(places[:, 0] + 1, len(answers)))
        marks: Marks = before[ends] > before[starts]
        return marks


def _runs(pieces: Sequence[Piece]) -> Iterator[_Run]:
    for is_word, some in groupby(pieces, key=lambda piece: piece.is_word):
        run = tuple(some)
        yield from ([_Run((piece,)) for piece in run] if is_word else [_Run(run)])
