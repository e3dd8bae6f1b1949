"""What every engine promises, tried on each engine of the table. A new line in the table is tested at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from tradewind.engines import ENGINES, Engine, Piece, Sampling, engine
from tradewind.errors import IntegrityError, NotFoundError

PROMPT = "the harbour, the"


@pytest.fixture(scope="module", params=ENGINES)
def started(request: pytest.FixtureRequest, tiny_model: Path) -> Iterator[Engine]:
    made = engine(request.param)
    made.start(tiny_model)
    yield made
    made.stop()


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, timeout=60))


async def collect(made: Engine, sampling: Sampling, prompt: str = PROMPT) -> list[Piece]:
    return [piece async for piece in made.generate(prompt, sampling)]


def text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


class TestEngine:
    def test_last_piece_and_no_other_says_why_the_answer_ended(self, started: Engine) -> None:
        pieces = run(collect(started, Sampling(max_tokens=10, temperature=0)))
        reasons = [piece.finish_reason for piece in pieces]
        assert reasons[-1] in ("stop", "length")
        assert set(reasons[:-1]) <= {None}

    @pytest.mark.parametrize("length", [1, 2, 13])
    def test_tokens_of_all_pieces_are_those_that_were_made(self, started: Engine, length: int) -> None:
        before = started.stats()
        pieces = run(collect(started, Sampling(max_tokens=length, temperature=0)))
        made = sum(piece.tokens for piece in pieces)
        assert made == length or (made < length and pieces[-1].finish_reason == "stop")
        after = started.stats()
        assert after.tokens_out - before.tokens_out == made
        assert after.tokens_in - before.tokens_in == started.count(PROMPT)

    def test_temperature_0_gives_one_answer(self, started: Engine) -> None:
        sampling = Sampling(max_tokens=16, temperature=0)
        assert text(run(collect(started, sampling))) == text(run(collect(started, sampling)))

    def test_seed_gives_one_answer(self, started: Engine) -> None:
        sampling = Sampling(max_tokens=16, temperature=1.2, top_p=0.9, seed=5)
        assert text(run(collect(started, sampling))) == text(run(collect(started, sampling)))

    def test_answer_ends_before_a_stop_text(self, started: Engine) -> None:
        whole = text(run(collect(started, Sampling(max_tokens=16, temperature=0))))
        stop = whole[3:6]
        pieces = run(collect(started, Sampling(max_tokens=16, temperature=0, stop=(stop,))))
        assert text(pieces) == whole[: whole.find(stop)]
        assert pieces[-1].finish_reason == "stop"

    def test_context_is_the_models(self, started: Engine) -> None:
        assert started.context == 64
        longest = started.context - started.count(PROMPT)
        assert text(run(collect(started, Sampling(max_tokens=longest, temperature=0))))

    def test_longer_prompts_have_more_tokens(self, started: Engine) -> None:
        assert 0 < started.count("sail") < started.count("sail, the quay and the wind")

    def test_many_answers_at_once_are_those_of_one_at_a_time(self, started: Engine) -> None:
        prompts = ["sail", "wind and", "the quay", "波止場"]
        sampling = Sampling(max_tokens=12, temperature=0)

        async def together() -> list[list[Piece]]:
            return await asyncio.gather(*(collect(started, sampling, prompt) for prompt in prompts))

        alone = [text(run(collect(started, sampling, prompt))) for prompt in prompts]
        assert [text(pieces) for pieces in run(together())] == alone

    def test_closed_answer_leaves_nothing_behind(self, started: Engine) -> None:
        async def abandon() -> None:
            pieces = started.generate(PROMPT, Sampling(max_tokens=48, temperature=0))
            async with aclosing(pieces):  # type: ignore[type-var]
                await anext(pieces)
            while started.stats().running:
                await asyncio.sleep(0.01)

        run(abandon())
        assert started.stats().waiting == 0
        assert run(collect(started, Sampling(max_tokens=2, temperature=0)))


@pytest.mark.parametrize("name", ENGINES)
def test_folder_without_a_model_is_an_integrity_error(name: str, tmp_path: Path) -> None:
    made = engine(name)
    with pytest.raises(IntegrityError):
        made.start(tmp_path)
    made.stop()


def test_unknown_engine_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"no engine named 'transformer' \(did you mean 'transformers'\?\)"):
        engine("transformer")
