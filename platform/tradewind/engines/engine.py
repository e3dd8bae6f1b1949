"""What a model engine is for a replica: it loads a model and answers OpenAI's HTTP API for it.

`Engine` is all that serving knows. `TextEngine` is what an engine of ours is besides, so that `openai_api` can speak
for it; an engine that brings its own HTTP API, like vLLM, is an `Engine` alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from tradewind.errors import SpecError, did_you_mean

if TYPE_CHECKING:
    import asyncio

    from fastapi import FastAPI

FinishReason = Literal["stop", "length"]
Profile = Literal["latency", "balanced", "throughput"]
PROFILES: tuple[Profile, ...] = get_args(Profile)
Precision = Literal["auto", "float32", "bfloat16", "float8", "int8"]


@dataclass(frozen=True)
class EngineSettings:
    """How an engine is to serve its model. Raises SpecError for what no engine can do."""

    names: tuple[str, ...] = ("model",)
    """`names[0]` is the model's own, which answers carry; the others mean it as well."""
    adapters: Mapping[str, Path] = field(default_factory=dict)
    """LoRA adapters by the name that requests ask for: folders with `adapter_config.json` of peft."""
    max_concurrency: int = 64
    """Most requests that are worked on at once; further ones wait in the engine."""
    profile: Profile = "balanced"
    precision: Precision = "auto"
    timeout_s: float = 120.0
    """How long a request may take, for an engine that plans by it."""
    tensor: int = 1
    """Chips that share each layer."""
    pipeline: int = 1
    """Groups of chips, each with some of the layers."""
    expert: bool = False
    """Whole experts lie on the chips of `tensor`, and not a slice of each."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """The engine's own knobs."""

    def __post_init__(self) -> None:
        for name in ("max_concurrency", "tensor", "pipeline"):
            if getattr(self, name) < 1:
                raise SpecError(f"{name} is {getattr(self, name)}", hint="give 1 or more")
        for name, known in (("profile", get_args(Profile)), ("precision", get_args(Precision))):
            if getattr(self, name) not in known:
                value = getattr(self, name)
                raise SpecError(f"{name} is {value!r}{did_you_mean(str(value), known)}", hint=f"give one of {known}")
        if not self.names:
            raise SpecError("the model has no name", hint="give one in names")
        if both := sorted(set(self.names) & set(self.adapters)):
            raise SpecError(f"{both[0]!r} names the model and an adapter", hint="give the adapter another name")


PLAIN = EngineSettings()


@dataclass(frozen=True)
class EngineLoad:
    """What an engine is doing at this moment, and its tokens since the start."""

    running: int
    """Requests that are worked on."""
    waiting: int
    """Requests that wait for a slot."""
    tokens_in_flight: int
    """Tokens of the open requests, running and waiting: those of their prompts and those made so far."""
    kv_use: float | None
    """Fraction of the room for keys and values that is taken; None where there is no bound."""
    ttft_p95_s: float | None
    """95th percentile of the seconds to the first token, of first tokens of the last minute; None where none came."""
    tokens_in: int
    tokens_out: int


class Engine(Protocol):
    """One model. `start`, `sleep`, `wake` and `stop` block; the app belongs to one event loop."""

    @property
    def can_sleep(self) -> bool:
        """Whether `sleep` gives memory back and `wake` is faster than a start."""

    @property
    def searched(self) -> Mapping[str, Sequence[Any]] | None:
        """Knobs that a search for a goal may turn, each with the values worth trying: `profile`, and settings of the
        engine's own. None where no text is made, whose goals are times to and between tokens.
        """

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that the app belongs to, which runs when a server is run on it; None where any will do.

        An app that belongs to one can be called from another, at some cost for each message.
        """

    @property
    def phases(self) -> Mapping[str, float]:
        """Seconds of the start by phase, as far as they exist: deserialise, to_device, compile, first_token."""

    @property
    def context(self) -> int:
        """The most tokens of prompt and answer together."""

    def start(self, files: Path, settings: EngineSettings = PLAIN) -> None:
        """Load the Hugging Face files in a folder and make one token, so that a started engine is one that works.

        Raises IntegrityError for files that are damaged or do not fit each other, SpecError for settings that the
        engine does not have, and CapacityError where this machine has too little.
        """

    def app(self) -> FastAPI:
        """The ASGI app of a started engine: /v1/completions, /v1/chat/completions, /v1/embeddings where the model
        can, /v1/models, /health and /metrics. For a model of no language /v1/predict stands in the place of the first.
        """

    def load(self) -> EngineLoad:
        """Cheap, never blocks, and may be called from any thread."""

    def sleep(self) -> None:
        """Give the memory of the weights and of the cache back until `wake`. Raises SpecError where it cannot."""

    def wake(self) -> None: ...

    def stop(self) -> None:
        """Give back what the engine holds. Running answers end with an error."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. `temperature` 0 takes the likeliest; `stop` end the answer and stay out."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    ignore_eos: bool = False
    """The end of text is a token like any other: for measurements of a given length."""
    whole: bool = False
    """Nobody reads the answer before its end, so it may come in one piece."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as the engine counts and reads it. `content` is the engine's own."""

    tokens: int
    content: Any


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer: some text made from `tokens` new tokens. The last piece says why the answer ended."""

    text: str
    tokens: int
    finish_reason: FinishReason | None = None


class TextEngine(Engine, Protocol):
    """An engine that turns prompts into streams of text, called from one event loop."""

    settings: EngineSettings

    def read(self, text: str) -> Prompt:
        """A text as a prompt."""

    def read_chat(self, messages: Sequence[Mapping[str, Any]]) -> Prompt:
        """A conversation as a prompt for the next answer. Raises SpecError when the model has no chat template."""

    def generate(self, prompt: Prompt, sampling: Sampling, *, adapter: str | None = None) -> AsyncIterator[Piece]:
        """The answer, piece by piece. Closing the iterator frees its slot. Raises CapacityError when stopped."""

    async def embed(self, prompts: Sequence[Prompt]) -> list[list[float]]:
        """A vector for each prompt. Raises SpecError when the model makes none."""
