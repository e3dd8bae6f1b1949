"""The `transformers` engine: any causal language model that the library knows, many answers at once.

On a GPU where there is one, else on the processor. It splits no model over chips; `vllm` does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.engines.batching import Batcher, Limits, Request
from tradewind.engines.engine import PLAIN, PROFILES, EngineLoad, EngineSettings, Piece, Profile, Prompt, Sampling
from tradewind.engines.knobs import read_knobs
from tradewind.engines.score import Score, windows
from tradewind.engines.tally import Tally
from tradewind.engines.text import TextStream
from tradewind.errors import CapacityError, SpecError
from tradewind.imports import uncollected

if TYPE_CHECKING:
    from fastapi import FastAPI

    from tradewind.engines.decoder import Decoder

PROMPT_TOKENS: dict[Profile, int] = {"latency": 256, "balanced": 1024, "throughput": 4096}
"""Tokens of prompts that a step reads: few keep running answers even, many keep the chip busy."""
CACHE_SHARE = 0.25
"""Of the free memory, for keys and values; their growth by doubling may take twice that for a moment."""


@dataclass(frozen=True)
class TransformersKnobs:
    cache_tokens: int | None = None
    """Room for keys and values, in tokens; None is what a quarter of the free memory holds."""
    prompt_tokens: int | None = None
    """Tokens of prompts that a step reads; None is the profile's."""


class TransformersEngine:
    can_sleep = False
    searched: Mapping[str, Sequence[Any]] = {"profile": PROFILES, "prompt_tokens": (64, 512)}
    loop = None

    def __init__(self) -> None:
        self.settings = EngineSettings()
        self.tally = Tally()
        self._phases: dict[str, float] = {}
        self._decoder: Decoder | None = None
        self._batcher: Batcher | None = None
        self._tokenizer: Any = None
        self._context = 0
        self._room = 0

    def start(self, files: Path, settings: EngineSettings = PLAIN) -> None:
        knobs = read_knobs(TransformersKnobs, settings.more, engine="transformers")
        _check(settings)
        self.settings = settings
        self._phases = {}
        decoder = self._load(files)
        with self._phase("first_token"):
            decoder.forward(0, [0], [self._ids("a")], [None]).argmax(dim=-1).item()
        self._room = knobs.cache_tokens or self._affordable(decoder)
        limits = Limits(
            rows=settings.max_concurrency,
            room_tokens=self._room,
            prompt_tokens=knobs.prompt_tokens or PROMPT_TOKENS[settings.profile],
        )
        self._batcher = Batcher(decoder, self.tally, limits, _ends(decoder.model, self._tokenizer))
        self._batcher.start()

    @property
    def phases(self) -> Mapping[str, float]:
        return self._phases

    @property
    def context(self) -> int:
        return self._context

    def app(self) -> FastAPI:
        from tradewind.engines.openai_api import app_of

        return app_of(self, self.tally.first_tokens)

    def load(self) -> EngineLoad:
        return self.tally.load(room=self._room)

    def sleep(self) -> None:
        raise SpecError("the transformers engine cannot sleep", hint="stop it, or serve with vllm, which can")

    def wake(self) -> None:
        """It never sleeps."""

    def stop(self) -> None:
        if self._batcher:
            self._batcher.stop()

    def read(self, text: str) -> Prompt:
        return _prompt(self._tokenizer(text)["input_ids"])

    def read_chat(self, messages: Sequence[Mapping[str, Any]]) -> Prompt:
        """Special tokens in the words of a message stay words, so that no message can end its turn."""
        from jinja2 import TemplateError

        if not self._tokenizer.chat_template:
            raise SpecError("the model has no chat template", hint="ask at /v1/completions, or export it with one")
        try:
            ids = self._tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                add_generation_prompt=True,
                return_dict=False,
                sanitize_control_tokens=True,
            )
        except (TemplateError, ValueError, TypeError) as exc:
            raise SpecError(f"the model's chat template refuses the messages: {exc}", hint="change them") from exc
        return _prompt(ids)

    async def generate(self, prompt: Prompt, sampling: Sampling, *, adapter: str | None = None) -> AsyncIterator[Piece]:
        batcher = self._started()
        most = min(sampling.max_tokens, self._context - prompt.tokens)
        with self.tally.request(prompt.tokens) as counted:
            stream = TextStream(self._decode, sampling.stop)
            loop = asyncio.get_running_loop()
            ids = prompt.content or self._ids("")
            request = Request(ids, replace(sampling, max_tokens=most), counted, stream, loop, adapter=adapter)
            batcher.submit(request)
            try:
                while True:
                    item = await request.queue.get()
                    if isinstance(item, BaseException):
                        raise item
                    yield item
                    if item.finish_reason is not None:
                        return
            finally:
                request.is_closed = True

    async def embed(self, prompts: Sequence[Prompt]) -> list[list[float]]:
        """Means of the last hidden states, made between two steps of the batch."""
        batcher, decoder = self._started(), self._decoder
        assert decoder is not None
        made = [batcher.do(partial(decoder.embed, prompt.content or self._ids(""))) for prompt in prompts]
        return list(await asyncio.gather(*map(asyncio.wrap_future, made)))

    def score(self, text: str) -> Score:
        """Between two steps of the batch."""
        from tradewind.engines.int8 import weights_bytes

        batcher, decoder = self._started(), self._decoder
        assert decoder is not None
        parts = list(windows(self._tokenizer(text, verbose=False)["input_ids"], self._context))
        if not parts:
            raise SpecError("the sample has fewer than two tokens", hint="give a longer text: quality.text")
        began = time.monotonic()
        nats = sum(batcher.do(partial(decoder.loss, part)).result() for part in parts)
        tokens = sum(len(part) - 1 for part in parts)
        return Score(nats / tokens, tokens, time.monotonic() - began, weights_bytes(decoder.model))

    def _quantise(self, model: Any) -> None:
        from tradewind.engines.int8 import quantise

        quantise(model)

    def _load(self, files: Path) -> Decoder:
        with self._phase("import"), uncollected():
            from tradewind.engines import loading
            from tradewind.engines.decoder import Decoder

            loading.import_class(files)
        with self._phase("deserialise"):
            self._tokenizer = loading.load_tokenizer(files)
            model = loading.load_model(files, loading.dtype_of(self.settings.precision))
        if self.settings.precision == "int8":
            with self._phase("quantise"):
                self._quantise(model)
        with self._phase("to_device"):
            model = loading.to_device(model)
        self._context = int(model.config.max_position_embeddings)
        self._decoder = Decoder(model)
        for name, folder in self.settings.adapters.items():
            self._decoder.adapters.add(name, folder)
        return self._decoder

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._phases[name] = round(time.monotonic() - began, 4)

    def _affordable(self, decoder: Decoder) -> int:
        from tradewind.engines.loading import free_bytes

        rows = self.settings.max_concurrency * self._context
        return max(1, min(rows, int(CACHE_SHARE * free_bytes()) // decoder.bytes_per_token))

    def _started(self) -> Batcher:
        if self._batcher is None:
            raise CapacityError("the engine has not started", hint="start it first")
        return self._batcher

    def _ids(self, text: str) -> Sequence[int]:
        """Never empty: a prompt without tokens begins with the model's own first one."""
        ids: list[int] = self._tokenizer(text)["input_ids"]
        first = self._tokenizer.bos_token_id
        return ids or [self._tokenizer.eos_token_id if first is None else first]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


def _check(settings: EngineSettings) -> None:
    """Raises SpecError for what this engine does not do."""
    if settings.tensor * settings.pipeline > 1 or settings.expert:
        raise SpecError("the transformers engine splits no model over chips", hint="serve it with the vllm engine")
    if settings.precision == "float8":
        raise SpecError(
            "the transformers engine does not serve float8",
            hint="give float32, bfloat16 or int8, or serve it with the vllm engine",
        )


def _prompt(ids: Sequence[int]) -> Prompt:
    return Prompt(len(ids), ids)


def _ends(model: Any, tokenizer: Any) -> set[int]:
    """The tokens that end an answer: the tokenizer's, and those that the model's own settings for generation name."""
    named = model.generation_config.eos_token_id if model.generation_config else None
    several = named if isinstance(named, list) else [named]
    return {token for token in (*several, tokenizer.eos_token_id) if token is not None}
