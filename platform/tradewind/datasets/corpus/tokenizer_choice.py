"""Which tokenizer a dataset gets: that of another dataset, one from a file, or a new one trained on its text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tradewind.datasets.corpus.documents import Content
from tradewind.datasets.corpus.encoding import Wanted
from tradewind.datasets.corpus.pieces import pieces
from tradewind.datasets.corpus.sources import read_whole
from tradewind.datasets.dataset import Dataset
from tradewind.datasets.shards import data_prefix
from tradewind.datasets.tokenizer import end_of_text_in, load_tokenizer, vocabulary_of
from tradewind.errors import IntegrityError, SpecError
from tradewind.records import TokenizerFile
from tradewind.specs import TokenizerSpec
from tradewind.storage import Store, put_content

SAMPLE_BYTES = 64 * 2**20
"""A new tokenizer is trained on this much text at most, from all groups alike; training on it takes some 7 s."""


@dataclass(frozen=True)
class ChosenTokenizer:
    """The bytes of a `tokenizer.json`, and the token that ends a document."""

    data: bytes
    end_of_text: str
    vocabulary: int

    def put(self, store: Store, name: str) -> TokenizerFile:
        """Store it with a dataset."""
        stored = put_content(store, data_prefix(name), self.data, suffix=".json")
        return TokenizerFile(**stored.model_dump(), vocabulary=self.vocabulary, end_of_text=self.end_of_text)


def given_tokenizer(spec: TokenizerSpec, other: Dataset | None) -> ChosenTokenizer | None:
    """The tokenizer of `other` or of the file that the spec names; None when a new one is wanted."""
    if other is not None:
        file = other.tokenizer_file
        return ChosenTokenizer(other.tokenizer_json(), file.end_of_text, file.vocabulary)
    return tokenizer_from_file(spec.file, spec.end_of_text) if spec.file else None


def tokenizer_from_file(place: str, end_of_text: str | None) -> ChosenTokenizer:
    """The tokenizer at a path or URL. Raises SpecError when it is none, or has no such end of text."""
    data = read_whole(place)
    try:
        tokenizer = load_tokenizer(data, what=place)
    except IntegrityError as exc:
        raise SpecError(exc.message, hint="a tokenizer.json of the tokenizers library is needed") from exc
    return ChosenTokenizer(data, end_of_text_in(tokenizer, end_of_text, what=place), vocabulary_of(tokenizer))


def sample(wanted: Sequence[Wanted], bound: bytes, *, content: Content) -> Iterator[str]:
    """Training text of at most `SAMPLE_BYTES`: from the start of each group the same share of what is kept there."""
    share = min(1.0, SAMPLE_BYTES / sum(one.scan.text_bytes for one in wanted))
    for one in wanted:
        left = one.scan.text_bytes * share
        for document in one.read(content=content):
            left -= document.num_bytes
            if left < 0:
                break
            if document.digest >= bound:
                for text in content.prose(document.text):
                    yield from pieces(text)
