"""What every engine promises, tried on each engine of the table. A new line in the table is tested at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tradewind.engines import ENGINES, EngineSettings, Piece, Sampling, TextEngine, engine
from tradewind.errors import IntegrityError, NotFoundError, SpecError

PROMPT = "the harbour, the"
SETTINGS = {
    "echo": EngineSettings(more={"context": 64}),
    "transformers": EngineSettings(precision="float32"),
}
"""Engines that are text engines of ours; any other is tried through its app alone, where it is installed."""


@pytest.fixture(scope="module", params=SETTINGS)
def started(request: pytest.FixtureRequest, tiny_model: Path) -> Iterator[TextEngine]:
    made: Any = engine(request.param)
    made.start(tiny_model, SETTINGS[request.param])
    yield made
    made.stop()


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, timeout=60))


async def collect(made: TextEngine, sampling: Sampling, prompt: str = PROMPT) -> list[Piece]:
    return [piece async for piece in made.generate(made.read(prompt), sampling)]


def text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


class TestEngine:
    def test_last_piece_and_no_other_says_why_the_answer_ended(self, started: TextEngine) -> None:
        pieces = run(collect(started, Sampling(max_tokens=10, temperature=0)))
        reasons = [piece.finish_reason for piece in pieces]
        assert reasons[-1] in ("stop", "length")
        assert set(reasons[:-1]) <= {None}

    @pytest.mark.parametrize("length", [1, 2, 13])
    def test_tokens_of_all_pieces_are_those_that_were_made(self, started: TextEngine, length: int) -> None:
        before = started.load()
        pieces = run(collect(started, Sampling(max_tokens=length, temperature=0)))
        made = sum(piece.tokens for piece in pieces)
        assert made == length or (made < length and pieces[-1].finish_reason == "stop")
        after = started.load()
        assert after.tokens_out - before.tokens_out == made
        assert after.tokens_in - before.tokens_in == started.read(PROMPT).tokens

    def test_temperature_0_gives_one_answer(self, started: TextEngine) -> None:
        sampling = Sampling(max_tokens=16, temperature=0)
        assert text(run(collect(started, sampling))) == text(run(collect(started, sampling)))

    def test_seed_gives_one_answer(self, started: TextEngine) -> None:
        sampling = Sampling(max_tokens=16, temperature=1.2, top_p=0.9, seed=5)
        assert text(run(collect(started, sampling))) == text(run(collect(started, sampling)))

    def test_answer_ends_before_a_stop_text(self, started: TextEngine) -> None:
        whole = text(run(collect(started, Sampling(max_tokens=16, temperature=0))))
        stop = whole[3:6]
        pieces = run(collect(started, Sampling(max_tokens=16, temperature=0, stop=(stop,))))
        assert text(pieces) == whole[: whole.find(stop)]
        assert pieces[-1].finish_reason == "stop"

    def test_context_is_the_models(self, started: TextEngine) -> None:
        assert started.context == 64
        longest = started.context - started.read(PROMPT).tokens
        assert text(run(collect(started, Sampling(max_tokens=longest, temperature=0))))

    def test_longer_prompts_have_more_tokens(self, started: TextEngine) -> None:
        assert 0 < started.read("sail").tokens < started.read("sail, the quay and the wind").tokens

    def test_many_answers_at_once_are_those_of_one_at_a_time(self, started: TextEngine) -> None:
        prompts = ["sail", "wind and", "the quay", "波止場"]
        sampling = Sampling(max_tokens=12, temperature=0)

        async def together() -> list[list[Piece]]:
            return await asyncio.gather(*(collect(started, sampling, prompt) for prompt in prompts))

        alone = [text(run(collect(started, sampling, prompt))) for prompt in prompts]
        assert [text(pieces) for pieces in run(together())] == alone

    def test_closed_answer_leaves_nothing_behind(self, started: TextEngine) -> None:
        async def abandon() -> None:
            pieces = started.generate(started.read(PROMPT), Sampling(max_tokens=48, temperature=0))
            async with aclosing(pieces):  # type: ignore[type-var]
                await anext(pieces)
            while started.load().running:
                await asyncio.sleep(0.01)

        run(abandon())
        assert started.load().waiting == started.load().tokens_in_flight == 0
        assert run(collect(started, Sampling(max_tokens=2, temperature=0)))

    def test_whole_answer_is_that_of_the_pieces_in_one(self, started: TextEngine) -> None:
        pieces = run(collect(started, Sampling(max_tokens=16, temperature=0)))
        (whole,) = run(collect(started, Sampling(max_tokens=16, temperature=0, whole=True)))
        assert (whole.text, whole.tokens) == (text(pieces), sum(piece.tokens for piece in pieces))
        assert whole.finish_reason == pieces[-1].finish_reason

    def test_open_answer_is_in_the_load(self, started: TextEngine) -> None:
        async def look() -> None:
            pieces: Any = started.generate(started.read(PROMPT), Sampling(max_tokens=40, temperature=0))
            async with aclosing(pieces):
                await anext(pieces)
                load = started.load()
                assert load.running == 1
                assert load.tokens_in_flight > started.read(PROMPT).tokens
                assert load.ttft_p95_s is not None

        run(look())

    def test_start_tells_its_phases(self, started: TextEngine) -> None:
        assert "first_token" in started.phases
        assert all(seconds >= 0 for seconds in started.phases.values())

    def test_app_answers_health_and_models(self, started: TextEngine) -> None:
        with TestClient(started.app()) as client:
            assert client.get("/health").json()["status"] == "ok"
            assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["model"]

    def test_engine_that_cannot_sleep_says_so(self, started: TextEngine) -> None:
        assert not started.can_sleep
        with pytest.raises(SpecError, match="cannot sleep"):
            started.sleep()


@pytest.mark.parametrize("name", SETTINGS)
def test_unknown_setting_is_answered_with_the_nearest(name: str, tiny_model: Path) -> None:
    known = {"echo": "first_s", "transformers": "cache_tokens"}[name]
    with pytest.raises(SpecError, match=rf"the {name} engine has no setting '{known}x' \(did you mean '{known}'\?\)"):
        engine(name).start(tiny_model, EngineSettings(more={f"{known}x": 1}))


def test_folder_without_a_model_is_an_integrity_error(tmp_path: Path) -> None:
    made = engine("transformers")
    with pytest.raises(IntegrityError):
        made.start(tmp_path)
    made.stop()


def test_every_engine_of_the_table_is_tried_here_or_by_itself() -> None:
    assert {*SETTINGS, "predict", "vllm"} == set(ENGINES)


def test_unknown_engine_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"no engine named 'transformer' \(did you mean 'transformers'\?\)"):
        engine("transformer")
