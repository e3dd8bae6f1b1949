from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tests.samples import WORDS
from tradewind.datasets.corpus import packing
from tradewind.datasets.corpus import pieces as pieces_module
from tradewind.datasets.corpus.packing import Encoder
from tradewind.datasets.corpus.pieces import pieces
from tradewind.datasets.tokenizer import END_OF_TEXT, train_tokenizer

prose = st.lists(
    st.one_of(
        st.sampled_from(WORDS), st.sampled_from([" ", "  ", "\n", "\r\n", "\t", "'ll", "123", "!?", "\xa0", "_"])
    ),
    max_size=60,
).map("".join)


@pytest.fixture(autouse=True)
def short_pieces() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces_module, "PIECE", 20)
        patch.setattr(pieces_module, "SEARCH", 15)
        patch.setattr(packing, "AT_ONCE", 50)
        yield


@cache
def ours() -> Encoder:
    return encoder(train_tokenizer([" ".join(WORDS) * 9, "it'll be 123!?\r\n  and\n\nmore"], vocabulary=320))


@cache
def with_a_mark_in_front() -> Encoder:
    """A tokenizer that puts something in front of each text, as those of SentencePiece do."""
    made = Tokenizer(models.BPE({"▁": 0, "a": 1, "b": 2, END_OF_TEXT: 3}, []))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    made.decoder = decoders.Metaspace(prepend_scheme="always")
    return encoder(made)


def encoder(tokenizer: Tokenizer) -> Encoder:
    return Encoder(tokenizer, tokenizer.get_vocab()[END_OF_TEXT], np.dtype(np.uint16))


@given(prose | st.text(max_size=200))
def test_pieces_together_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


@given(st.lists(prose, max_size=4))
def test_long_texts_have_the_ids_that_they_have_as_a_whole(texts: list[str]) -> None:
    expected = [[*ours().tokenizer.encode(text).ids, ours().end] for text in texts]
    assert [array.tolist() for array in ours().encode(texts)] == expected


def test_long_text_is_cut() -> None:
    made = list(pieces("harbour " * 100, may_cut=ours()._may_cut))
    assert max(map(len, made)) <= 40
    assert len(made) > 20


@pytest.mark.parametrize("text", ["a" * 500, " " * 500, "a b " * 100])
def test_text_is_cut_only_where_that_changes_nothing(text: str) -> None:
    for made in (ours(), with_a_mark_in_front()):
        assert [array.tolist() for array in made.encode([text])] == [[*made.tokenizer.encode(text).ids, made.end]]


def test_text_without_a_place_to_cut_stays_whole() -> None:
    assert list(pieces("a" * 500)) == ["a" * 500]
    assert list(pieces("a b " * 100, may_cut=lambda before, after: False)) == ["a b " * 100]
