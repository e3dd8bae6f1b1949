from __future__ import annotations

import json
from typing import Any

import pytest

from tradewind.errors import RunError
from tradewind.serving.trials.figures import Window, figures, percentile
from tradewind.serving.trials.stream import Answer

WINDOW = Window(10.0, 20.0)


def event(**values: Any) -> bytes:
    return f"data: {json.dumps(values)}\n\n".encode()


def answer(asked: float, *parts: float, tokens: int | None = None) -> Answer:
    """Ended with the last part, unless it has no count of tokens."""
    made = Answer(asked, [(at, event(choices=[{"text": "a"}])) for at in parts])
    if tokens is not None:
        made.ended = parts[-1]
        made.chunks.append((parts[-1], event(choices=[], usage={"completion_tokens": tokens}) + b"data: [DONE]\n\n"))
    return made


def test_figures_are_of_what_came_in_the_window() -> None:
    seen = figures(
        [
            answer(8.0, 9.0, 10.5, 11.0, tokens=3),
            answer(11.0, 13.0, 13.5, 15.0, tokens=3),
            answer(19.0, 19.5, 21.0, 22.0, tokens=3),
        ],
        WINDOW,
    )
    assert (seen.answers, seen.requests_per_s) == (2, 0.2)
    assert seen.tokens_per_s == pytest.approx(0.6)  # 10.5, 11, 13, 13.5, 15, 19.5
    assert (seen.ttft_p50_s, seen.ttft_p95_s) == (0.5, 2.0)
    assert (seen.itl_p50_s, seen.itl_p95_s) == (0.5, 1.5)
    assert (seen.answer_p50_s, seen.answer_p95_s) == (3.0, 4.0)


def test_parts_of_several_tokens_count_as_so_many() -> None:
    assert figures([answer(10.0, 11.0, 12.0, tokens=8)], WINDOW).tokens_per_s == pytest.approx(0.8)


def test_first_token_that_never_comes_counts_as_what_was_waited() -> None:
    quick = [answer(10.0 + n / 10, 10.05 + n / 10, 10.1 + n / 10, tokens=2) for n in range(9)]
    assert figures([*quick, answer(19.99)], WINDOW).ttft_p95_s == pytest.approx(0.05)
    assert figures([*quick, answer(12.0)], WINDOW).ttft_p95_s == pytest.approx(8.0)


def test_chunks_may_end_anywhere() -> None:
    whole = answer(10.0, 11.0, 12.0, 13.0, tokens=3)
    text = b"".join(data for _, data in whole.chunks)
    torn = Answer(10.0, [(11.0 + n / len(text), text[n : n + 1]) for n in range(len(text))], ended=13.0)
    assert [said for _, said in torn.events()] == [said for _, said in whole.events()]


def test_too_little_to_say_anything_is_an_error() -> None:
    for answers in ([], [answer(10.0)], [answer(10.0, 11.0, 12.0)]):
        with pytest.raises(RunError, match=r"no answer came to its end in the 10\.0 s"):
            figures(answers, WINDOW)


def test_answer_that_breaks_off_is_an_error() -> None:
    broken = Answer(10.0, [(11.0, event(error={"message": "the engine is stopping"}))])
    with pytest.raises(RunError, match="broke off: the engine is stopping"):
        figures([broken], WINDOW)


def test_answer_without_usage_is_an_error() -> None:
    untold = answer(10.0, 11.0, 12.0)
    untold.ended = 12.0
    with pytest.raises(RunError, match="did not say its usage"):
        figures([untold], WINDOW)


def test_percentile_is_a_value_that_was_seen() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert [percentile(values, share) for share in (50, 95, 100)] == [50.0, 95.0, 100.0]
    assert percentile([7.0], 95) == 7.0
