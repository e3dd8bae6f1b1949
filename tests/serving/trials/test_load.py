"""The load against the echo engine's own server, whose law is known."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tradewind.engines import EngineSettings, engine
from tradewind.errors import RunError
from tradewind.records import ServingLoad
from tradewind.serving.server import Server, bind
from tradewind.serving.trials.load import measure

LOAD = ServingLoad(clients=4, seconds=0.4, tokens_in=20, tokens_out=8)


@contextmanager
def echo(*, slots: int = 4, **law: Any) -> Iterator[str]:
    made = engine("echo")
    made.start(Path(), EngineSettings(names=("pilot",), max_concurrency=slots, more=law))
    server = Server(made.app(), bind("127.0.0.1"))
    server.start()
    try:
        yield server.url
    finally:
        made.stop()
        server.stop()


def test_what_is_seen_follows_the_law() -> None:
    with echo(first_s=0.02, each_s=0.01) as url:
        seen = measure(url, "pilot", LOAD)
    assert seen.ttft_p50_s >= 0.02
    assert 0.008 <= seen.itl_p50_s <= 0.1
    assert seen.answers >= 4
    assert seen.tokens_per_s <= 4 / 0.01 * 1.05
    assert seen.answer_p95_s >= seen.answer_p50_s >= seen.ttft_p50_s


def test_clients_without_a_slot_wait_for_their_first_token() -> None:
    with echo(slots=1, first_s=0.02, each_s=0.005) as url:
        seen = measure(url, "pilot", LOAD)
    assert seen.ttft_p50_s >= 0.1  # behind three answers of 50 ms
    assert seen.itl_p50_s < seen.ttft_p50_s


def test_loop_that_runs_already_is_no_hindrance() -> None:
    async def notebook(url: str) -> int:
        return measure(url, "pilot", LOAD).answers

    with echo(each_s=0.005) as url:
        assert asyncio.run(notebook(url)) > 0


def test_refusal_is_told_in_the_words_of_the_server() -> None:
    with echo() as url, pytest.raises(RunError, match="answered 404: the model 'pilto' is not served here"):
        measure(url, "pilto", LOAD)


def test_server_that_goes_away_is_an_error() -> None:
    with echo(each_s=0.005) as url:
        pass
    with pytest.raises(RunError, match="nothing answers at http"):
        measure(url, "pilot", LOAD)


def test_engine_that_is_too_slow_for_the_time_is_told() -> None:
    with echo(each_s=1.0) as url, pytest.raises(RunError, match="no answer came to its end"):
        measure(url, "pilot", LOAD)
