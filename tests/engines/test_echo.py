from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tradewind.engines import EngineSettings, Piece, Sampling
from tradewind.engines.echo import EchoEngine
from tradewind.errors import CapacityError, SpecError


def started(*, slots: int = 64, **law: float) -> EchoEngine:
    engine = EchoEngine()
    engine.start(Path(), EngineSettings(max_concurrency=slots, more=law))
    return engine


async def answer(engine: EchoEngine, prompt: str, sampling: Sampling) -> list[Piece]:
    return [piece async for piece in engine.generate(engine.read(prompt), sampling)]


def ask(engine: EchoEngine, prompt: str, most: int, **wishes: Any) -> list[Piece]:
    return asyncio.run(answer(engine, prompt, Sampling(most, **wishes)))


@pytest.mark.parametrize("prompt", ["one", "one two  three", " one\n two ", "波止場 の"])
def test_answer_is_the_prompt_again(prompt: str) -> None:
    engine = started()
    tokens = engine.read(prompt).tokens
    assert "".join(piece.text for piece in ask(engine, prompt, tokens)) == prompt
    assert "".join(piece.text for piece in ask(engine, prompt, 3 * tokens)) == 3 * prompt


def test_empty_prompt_is_answered() -> None:
    assert [piece.tokens for piece in ask(started(), "", 3)] == [1, 1, 1]


@pytest.mark.parametrize("whole", [False, True])
def test_stop_text_ends_the_answer_and_stays_out(whole: bool) -> None:
    pieces = ask(started(), "one two three", 6, stop=("wo t", "never"), whole=whole)
    assert "".join(piece.text for piece in pieces) == "one t"
    assert pieces[-1].finish_reason == "stop"
    assert sum(piece.tokens for piece in pieces) == 3  # up to the word that completes the stop text


@pytest.mark.parametrize("whole", [False, True])
def test_law_is_kept(whole: bool) -> None:
    """By the loop's own clock, which is turned on by hand: the law says when tokens come, to the microsecond."""
    engine = started(first_s=10, each_s=2, per_prompt_token_s=1)
    loop = HandTurned()
    made = loop.run_until_complete(answer(engine, "one two", Sampling(4, whole=whole)))
    loop.close()
    assert sum(piece.tokens for piece in made) == 4
    assert loop.time() == pytest.approx(10 + 2 * 1 + 3 * 2)


def test_fuller_batch_is_slower() -> None:
    engine = started(each_s=1, each_more_s=0.5)
    loop = HandTurned()

    async def three() -> None:
        await asyncio.gather(*(answer(engine, "one", Sampling(5)) for _ in range(3)))

    loop.run_until_complete(three())
    loop.close()
    assert loop.time() == pytest.approx(4 * (1 + 2 * 0.5))


def test_requests_beyond_the_slots_wait_for_them() -> None:
    engine = started(slots=2, first_s=1)
    loop = HandTurned()
    seen = []

    async def five() -> None:
        answers = asyncio.gather(*(answer(engine, "one two", Sampling(1)) for _ in range(5)))
        await asyncio.sleep(0.5)
        seen.append(engine.load())
        await answers

    loop.run_until_complete(five())
    loop.close()
    assert (seen[0].running, seen[0].waiting, seen[0].tokens_in_flight) == (2, 3, 10)
    assert loop.time() == pytest.approx(3)
    load = engine.load()
    assert (load.running, load.waiting, load.tokens_in, load.tokens_out) == (0, 0, 10, 5)


def test_stopped_engine_ends_its_answers() -> None:
    engine = started()
    engine.stop()
    with pytest.raises(CapacityError):
        ask(engine, "one", 1)


def test_law_must_be_of_numbers() -> None:
    with pytest.raises(SpecError, match="setting 'first_s' of the echo engine"):
        started(first_s="soon")  # type: ignore[arg-type]


class HandTurned(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self._now = max(self._now, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]
