"""What a model engine does for a replica: load a model from a folder, and turn prompts into streams of text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. `temperature` 0 takes the likeliest; `stop` end the answer and stay out."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True)
class Piece:
    """A part of an answer: some text made from `tokens` new tokens. The last piece says why the answer ended."""

    text: str
    tokens: int
    finish_reason: FinishReason | None = None


@dataclass(frozen=True)
class EngineStats:
    running: int
    waiting: int
    tokens_in: int
    tokens_out: int


class Engine(Protocol):
    """One loaded model. Its methods are called from one event loop."""

    def start(self, folder: Path) -> None:
        """Load the Hugging Face files in a folder and make one token, so that a started engine is one that works."""

    @property
    def context(self) -> int:
        """The most tokens of prompt and answer together."""

    def count(self, prompt: str) -> int:
        """How many tokens a prompt has."""

    def generate(self, prompt: str, sampling: Sampling) -> AsyncIterator[Piece]:
        """The answer, piece by piece. Closing the iterator stops the work."""

    def stats(self) -> EngineStats:
        """Requests now, and tokens since the start."""

    def stop(self) -> None:
        """Give back what the engine holds. Running answers end."""
