"""Token ids that somebody has already become the shards of a dataset, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tradewind import progress
from tradewind.datasets.blocks import Tokens
from tradewind.datasets.corpus.packing import Packer, put_shard, token_type
from tradewind.datasets.corpus.tokenizer_choice import ChosenTokenizer, tokenizer_from_file
from tradewind.datasets.shards import list_shards
from tradewind.errors import SpecError
from tradewind.records import Split, TokenizerFile
from tradewind.storage import Store
from tradewind.units import format_count

SHARD_BYTES = 16 * 2**20
TYPES = ("uint16", "uint32")
AT_ONCE = 2**22
"""Ids dealt with at once of an array that may be larger than memory."""


@dataclass(frozen=True)
class Imported:
    """What a version of imported tokens is recorded with."""

    splits: dict[str, Split]
    dtype: Literal["uint16", "uint32"]
    tokenizer: TokenizerFile | None


def import_tokens(
    store: Store,
    name: str,
    splits: Mapping[str, Iterable[Tokens]],
    *,
    shard_bytes: int = SHARD_BYTES,
    tokenizer: str | Path | None = None,
    end_of_text: str | None = None,
) -> Imported:
    """Store arrays of ids, joined in their order. `tokenizer` is the path or URL of the `tokenizer.json` they are of.

    All arrays have one dimension and one type, uint16 or uint32; with a tokenizer that is the smallest for its ids.
    Raises SpecError for arrays that are not so, and for ids that the tokenizer does not have.
    """
    if shard_bytes < 4096 or shard_bytes % 4:
        raise SpecError(f"shard_bytes is {shard_bytes}", hint="use a multiple of 4, at least 4096")
    if not splits:
        raise SpecError("there are no splits", hint='name one: {"train": arrays}')
    chosen = tokenizer_from_file(str(tokenizer), end_of_text) if tokenizer else None
    checked = _Checked(chosen)
    written = {split: _write(store, name, checked.arrays(split, splits[split]), split, shard_bytes) for split in splits}
    if checked.dtype is None or not any(split.tokens for split in written.values()):
        raise SpecError(f"there are no tokens in {', '.join(splits)}", hint="give arrays that hold some")
    dtype: Literal["uint16", "uint32"] = "uint16" if checked.dtype.itemsize == 2 else "uint32"
    return Imported(written, dtype, chosen.put(store, name) if chosen else None)


class _Checked:
    """Arrays as they come, refused when they do not go together."""

    def __init__(self, tokenizer: ChosenTokenizer | None) -> None:
        self.vocabulary = tokenizer.vocabulary if tokenizer else None
        self.dtype = token_type(tokenizer.vocabulary) if tokenizer else None

    def arrays(self, split: str, given: Iterable[Any]) -> Iterator[Tokens]:
        for number, array in enumerate([given] if isinstance(given, np.ndarray) else given):
            self._check_type(array, f"array {number} of {split!r}")
            for start in range(0, len(array), AT_ONCE):
                piece = array[start : start + AT_ONCE]
                self._check_ids(piece, f"array {number} of {split!r}")
                yield piece.astype(self.dtype)

    def _check_type(self, array: Any, what: str) -> None:
        if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.name not in TYPES:
            is_array = isinstance(array, np.ndarray)
            found = f"{array.dtype} of shape {array.shape}" if is_array else type(array).__name__
            raise SpecError(f"{what} is {found}", hint=f"give numpy arrays of one dimension, {' or '.join(TYPES)}")
        self.dtype = self.dtype or np.dtype(array.dtype.name)
        if self.vocabulary is None and array.dtype.name != self.dtype.name:
            raise SpecError(f"{what} is {array.dtype}, the ones before are {self.dtype}", hint="use one type for all")

    def _check_ids(self, piece: Tokens, what: str) -> None:
        if self.vocabulary is not None and int(piece.max()) >= self.vocabulary:
            message = f"{what} holds the id {piece.max()}, and the tokenizer has {self.vocabulary} tokens"
            raise SpecError(message, hint="give the tokenizer that the ids are of")


def _write(store: Store, name: str, arrays: Iterator[Tokens], split: str, shard_bytes: int) -> Split:
    with progress.track(f"{split} tokens") as bar:
        shards = []
        for piece in _packed(arrays, shard_bytes):
            shards.append(put_shard(store, name, piece))
            bar.advance(0, note=f"{format_count(sum(shard.tokens for shard in shards))} tokens")
        return list_shards(store, name, shards)


def _packed(arrays: Iterator[Tokens], shard_bytes: int) -> Iterator[Tokens]:
    packer: Packer | None = None
    for array in arrays:
        packer = packer or Packer(array.dtype, shard_bytes=shard_bytes)
        yield from packer.add(array)
    if packer:
        yield from packer.rest()
