from __future__ import annotations

from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tradewind.datasets.tokenizer import END_OF_TEXT, load_tokenizer, train_tokenizer
from tradewind.errors import IntegrityError, SpecError

TEXT = ["def sail(harbour):\n    return harbour.quay\n", "the tide turns, the wind turns; the quay stays. " * 3]


@cache
def tokenizer(*, loaded: bool) -> Tokenizer:
    made = train_tokenizer(TEXT, vocabulary=280)
    return load_tokenizer(made.to_str().encode(), what="dataset logbook@1") if loaded else made


@pytest.mark.parametrize("loaded", [False, True])
@given(text=st.text())
@example(text="\r\n\t  two  spaces \x00 \ufeff e\u0301 👩‍🚀")
@example(text=f"the words {END_OF_TEXT} in a text are words")
def test_any_text_encodes_and_decodes_to_itself(text: str, loaded: bool) -> None:
    made = tokenizer(loaded=loaded)
    ids = made.encode(text).ids
    assert made.decode(ids) == text
    assert made.token_to_id(END_OF_TEXT) not in ids


def test_vocabulary_has_the_size_that_was_asked_for_with_the_end_of_text_in_it() -> None:
    made = tokenizer(loaded=False)
    assert made.get_vocab_size() == 280
    assert set(made.get_vocab().values()) == set(range(280))
    assert made.token_to_id(END_OF_TEXT) is not None


def test_smallest_vocabulary_is_the_bytes_and_the_end_of_text() -> None:
    made = train_tokenizer(TEXT, vocabulary=257)
    assert len(made.encode("波").ids) == 3


def test_same_text_gives_the_same_tokenizer() -> None:
    assert train_tokenizer(TEXT, vocabulary=280).to_str() == train_tokenizer(TEXT, vocabulary=280).to_str()


def test_text_that_is_too_small_says_how_far_it_goes() -> None:
    with pytest.raises(SpecError, match=r"too small for a vocabulary of 5000: it gives \d{3} tokens") as caught:
        train_tokenizer(TEXT, vocabulary=5000)
    assert caught.value.hint == "add text, or ask for fewer tokens"


@pytest.mark.parametrize("data", [b"", b"{", b"{}", b"\xff\xfe"])
def test_bytes_that_are_no_tokenizer_are_an_integrity_error(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="the tokenizer of dataset logbook@1 cannot be read"):
        load_tokenizer(data, what="dataset logbook@1")
