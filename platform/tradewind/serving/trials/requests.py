"""Requests of a traffic, drawn by a seed: the n-th is the same in every trial, so that settings can be compared."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

from tradewind.errors import SpecError
from tradewind.records import ServingLoad

WORDS = """
    harbour quay sail wind cargo chart anchor tide mast keel rope deck captain voyage island storm lantern compass
    market silver letter winter garden bridge window morning river kitchen music paper engine number signal thunder
""".split()  # noqa: SIM905 - as a list of literals it would be a page long
LEAST, MOST = 0.5, 1.5
"""Lengths over their mean: real ones differ, and equal ones would keep all clients in step."""


@dataclass(frozen=True)
class Requests:
    """`words_per_token` is the model's: its tokenizer decides how long a prompt is."""

    model: str
    load: ServingLoad
    words_per_token: float = 1.0

    def body(self, number: int) -> bytes:
        """No two prompts begin alike, so that a cache of prefixes serves none of them."""
        draw = random.Random(f"{self.load.seed}/{number}")
        tokens_in = self.load.tokens_in * draw.uniform(LEAST, MOST)
        tokens_out = max(2, round(self.load.tokens_out * draw.uniform(LEAST, MOST)))
        return self.asking(draw, max(1, round(tokens_in * self.words_per_token)), tokens_out)

    def asking(self, draw: random.Random, words: int, tokens_out: int) -> bytes:
        """A request for exactly `tokens_out` tokens, streamed, with the usage at the end."""
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": " ".join(draw.choices(WORDS, k=words)),
            "max_tokens": tokens_out,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return json.dumps(body).encode()


def check_context(load: ServingLoad, context: int) -> None:
    """Raises SpecError when the longest requests of a load do not fit into a model."""
    longest = round(MOST * (load.tokens_in + load.tokens_out))
    if longest > context:
        raise SpecError(
            f"the longest requests have {longest} tokens ({MOST:g} times the traffic's {load.tokens_in} and "
            f"{load.tokens_out}), and the model's context is {context}",
            hint="give the traffic in the spec, like traffic: {tokens_in: 30, tokens_out: 10}",
        )
