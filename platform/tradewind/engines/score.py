"""How well a started engine predicts a text: what a quality gate compares between two of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

WINDOW_TOKENS = 512
MOST_TOKENS = 4096
"""Of a sample; what is longer is not read. The same tokens are read by both engines, so that few are enough."""


@dataclass(frozen=True)
class Score:
    loss: float
    """Nats a token, on average over those that were predicted."""
    tokens: int
    """Predicted."""
    seconds: float
    """For all of them, in windows one after the other."""
    weights_bytes: int | None = None
    """That the weights take in memory, where the engine knows."""


@runtime_checkable
class Scorer(Protocol):
    """An engine that can be compared with another one."""

    def score(self, text: str) -> Score:
        """The loss on a text. Blocks; the engine has started. Raises SpecError for a text of fewer than two tokens."""


def windows(tokens: Sequence[int], context: int) -> Iterator[Sequence[int]]:
    """Parts of a text that an engine reads by themselves, of at least two tokens; one more has room behind each."""
    width = min(WINDOW_TOKENS, context - 1)
    parts = (tokens[start : start + width] for start in range(0, min(len(tokens), MOST_TOKENS), width))
    return (part for part in parts if len(part) > 1)
