from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tradewind.engines.text import TextStream


def decode_bytes(ids: Sequence[int]) -> str:
    """One token a byte: the hardest case for characters of several bytes."""
    return bytes(ids).decode(errors="replace")


def cut(text: str, stops: Sequence[str]) -> str:
    """A text up to where the first of some stop texts begins."""
    return text[: min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))]


def stream(ids: Sequence[int], stops: Sequence[str] = ()) -> tuple[list[str], TextStream, int]:
    """The pieces that come out, the stream, and how many tokens went in before it stopped."""
    made, pieces, used = TextStream(decode_bytes, stops), [], 0
    for token in ids:
        pieces.append(made.push(token))
        used += 1
        if made.stopped:
            break
    pieces.append(made.finish())
    return pieces, made, used


texts = st.one_of(st.text(), st.text("ab"), st.text("aé波🌊"))
stops = st.lists(
    st.one_of(st.text("ab", min_size=1, max_size=4), st.text("aé波🌊", min_size=1, max_size=3)), max_size=3
)


@given(texts, stops)
@example("abab", ["ba", "b"])
@example("aab", ["ab"])
@example("🌊é", ["é"])
def test_pieces_are_the_text_up_to_the_first_stop(text: str, stops: list[str]) -> None:
    pieces, made, used = stream(text.encode(), stops)
    said = decode_bytes(text.encode()[:used])
    assert "".join(pieces) == cut(said, stops)
    assert made.stopped == any(stop in said for stop in stops)
    assert made.stopped or said == text


@given(texts, stops)
def test_no_token_after_a_stop_text_is_needed(text: str, stops: list[str]) -> None:
    _, made, used = stream(text.encode(), stops)
    assert made.stopped or used == len(text.encode())
    assert not any(stop in decode_bytes(text.encode()[: used - 1]) for stop in stops)


@given(st.lists(st.integers(0, 255), max_size=30), stops)
def test_bytes_that_are_no_text_come_out_as_their_decoding(ids: list[int], stops: list[str]) -> None:
    pieces, _, used = stream(ids, stops)
    said = decode_bytes(ids[:used])
    assert "".join(pieces) == cut(said, stops)


def test_character_of_many_tokens_comes_with_its_last() -> None:
    pieces, _, _ = stream("aé🌊".encode())
    assert pieces == ["a", "", "é", "", "", "", "🌊", ""]


def test_character_that_is_cut_off_comes_at_the_end() -> None:
    pieces, _, _ = stream("a🌊".encode()[:-1])
    assert pieces == ["a", "", "", "", "\ufffd"]


def test_text_that_may_become_a_stop_is_held_back_and_given_when_it_does_not() -> None:
    pieces, made, _ = stream(b"one END two", ["ENDING"])
    assert pieces[:8] == ["o", "n", "e", " ", "", "", "", "END "]
    assert not made.stopped


def test_text_that_was_held_back_comes_at_the_end() -> None:
    pieces, made, _ = stream(b"one EN", ["END"])
    assert pieces[-1] == "EN"
    assert not made.stopped


def test_nothing_comes_after_a_stop() -> None:
    pieces, made, used = stream(b"one END two", ["END"])
    assert "".join(pieces) == "one "
    assert (made.stopped, used, made.finish()) == (True, 7, "")


def test_stop_within_one_token_hides_the_rest_of_it() -> None:
    made = TextStream(lambda ids: "".join(("one END two", " three")[token] for token in ids), ["END"])
    assert made.push(0) == "one "
    assert made.stopped


def test_stop_is_met_even_when_the_token_ends_within_a_character() -> None:
    made = TextStream(lambda ids: "".join(("one", " END\ufffd")[token] for token in ids), [" END"])
    assert made.push(0) == "one"
    assert made.push(1) + made.finish() == ""
    assert made.stopped


@pytest.mark.parametrize("stops", [(), ("x",)])
def test_no_tokens_are_no_text(stops: tuple[str, ...]) -> None:
    assert TextStream(decode_bytes, stops).finish() == ""
