"""The `echo` engine: it answers a prompt's own words by a known law of latency, for tests and studies of load.

A token is a word with the space before it. The first token of an answer comes `first_s` after the request has its
slot, each further one `each_s` after the one before; the words of the prompt are said again and again until
`max_tokens`. Nothing is computed, so that what is measured is everything around an engine. Times are kept to the
request's own clock: a late token does not make the later ones late.
"""

from __future__ import annotations

import asyncio
import re
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.engines.engine import PLAIN, EngineLoad, EngineSettings, FinishReason, Piece, Prompt, Sampling
from tradewind.engines.knobs import read_knobs
from tradewind.engines.tally import Open, Tally
from tradewind.errors import CapacityError, SpecError

if TYPE_CHECKING:
    from fastapi import FastAPI

_WORD = re.compile(r"\s*\S+|\s+$")


@dataclass(frozen=True)
class EchoKnobs:
    """The law. All in seconds; `context` in tokens."""

    first_s: float = 0.0
    each_s: float = 0.0
    per_prompt_token_s: float = 0.0
    """Added to `first_s` for each token of the prompt."""
    each_more_s: float = 0.0
    """Added to `each_s` for each other request that runs: what a fuller batch costs."""
    start_s: float = 0.0
    """How long the start takes, like the loading of a model."""
    context: int = 8192


class EchoEngine:
    can_sleep = False
    searched: Mapping[str, Sequence[Any]] = {}  # its law is the world, and no knob
    loop = None

    def __init__(self) -> None:
        self.settings = EngineSettings()
        self.tally = Tally()
        self._law = EchoKnobs()
        self._slots = asyncio.Semaphore(self.settings.max_concurrency)
        self._running = 0
        self._phases: dict[str, float] = {}
        self._is_stopped = False

    def start(self, files: Path, settings: EngineSettings = PLAIN) -> None:  # noqa: ARG002
        """Ready after `start_s`; reads no file."""
        self._law = read_knobs(EchoKnobs, settings.more, engine="echo")
        self.settings = settings
        self._slots = asyncio.Semaphore(settings.max_concurrency)
        began = time.monotonic()
        time.sleep(self._law.start_s)
        self._phases = {"first_token": time.monotonic() - began}

    @property
    def phases(self) -> Mapping[str, float]:
        return self._phases

    @property
    def context(self) -> int:
        return self._law.context

    def app(self) -> FastAPI:
        from tradewind.engines.openai_api import app_of

        return app_of(self, self.tally.first_tokens)

    def load(self) -> EngineLoad:
        return self.tally.load()

    def sleep(self) -> None:
        raise SpecError("the echo engine cannot sleep", hint="stop it; a start is as fast")

    def wake(self) -> None:
        """It never sleeps."""

    def stop(self) -> None:
        self._is_stopped = True

    def read(self, text: str) -> Prompt:
        words = _WORD.findall(text)
        return Prompt(len(words), words)

    def read_chat(self, messages: Sequence[Mapping[str, Any]]) -> Prompt:
        """The words of all messages; roles are not said."""
        return self.read(" ".join(_words(message) for message in messages))

    async def embed(self, prompts: Sequence[Prompt]) -> list[list[float]]:  # noqa: ARG002
        raise SpecError("the echo engine makes no embeddings", hint="serve a model with the transformers engine")

    async def generate(
        self,
        prompt: Prompt,
        sampling: Sampling,
        *,
        adapter: str | None = None,  # noqa: ARG002 - each says the same words
    ) -> AsyncIterator[Piece]:
        with self.tally.request(prompt.tokens) as request:
            async with self._slots:
                request.running = True
                self._running += 1
                try:
                    async for piece in self._said(prompt, sampling, request):
                        yield piece
                finally:
                    self._running -= 1

    async def _said(self, prompt: Prompt, sampling: Sampling, request: Open) -> AsyncIterator[Piece]:
        texts, reason = _answer(prompt.content, sampling)
        clock = _Clock(self._law.first_s + self._law.per_prompt_token_s * prompt.tokens)
        last = len(texts) - 1
        for index, text in enumerate(texts):
            if not sampling.whole or index == 0 or index == last or self._law.each_more_s:
                await clock.wait()
            if self._is_stopped:
                raise CapacityError("the engine is stopping", hint="ask again; another replica will answer")
            self.tally.made(request, 1)
            if not sampling.whole:
                yield Piece(text, 1, reason if index == last else None)
            clock.advance(self._law.each_s + self._law.each_more_s * (self._running - 1))
        if sampling.whole:
            yield Piece("".join(texts), len(texts), reason)


class _Clock:
    """When the next token is due, by the event loop's clock."""

    def __init__(self, first_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + first_s

    async def wait(self) -> None:
        await asyncio.sleep(max(0.0, self._due - self._loop.time()))

    def advance(self, seconds: float) -> None:
        self._due += seconds


def _answer(words: Sequence[str], sampling: Sampling) -> tuple[list[str], FinishReason]:
    """The text of each token, and why the answer ends. A prompt without words is answered with one of ours."""
    texts = list(islice(cycle(words or ["echo "]), sampling.max_tokens))
    whole = "".join(texts) if sampling.stop else ""
    cuts = [(at, at + len(stop)) for stop in sampling.stop if (at := whole.find(stop)) >= 0]
    if not cuts:
        return texts, "length"
    cut, end = min(cuts)
    ends = list(accumulate(map(len, texts)))
    used = bisect_left(ends, end) + 1
    return [text[: max(0, cut - (at - len(text)))] for text, at in zip(texts[:used], ends, strict=False)], "stop"


def _words(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part["text"] for part in content)
