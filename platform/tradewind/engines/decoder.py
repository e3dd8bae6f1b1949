"""A causal language model of `transformers` with a cache of rows: one forward pass for any number of sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from tradewind.engines.adapters import Adapters
from tradewind.engines.slot_cache import SlotCache, Window, padded, visible
from tradewind.errors import SpecError

FULL, SLIDING = "full_attention", "sliding_attention"


class Decoder:
    """Reads tokens into rows of its cache and gives the scores of the next ones."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.adapters = Adapters(model)
        self.device: torch.device = model.device
        self._kinds = _attention_kinds(model.config)
        self._sliding = getattr(model.config, "sliding_window", None)
        self._slots = SlotCache(model.config.num_hidden_layers)

    def forward(
        self, first: int, starts: Sequence[int], tokens: Sequence[Sequence[int]], adapters: Sequence[str | None]
    ) -> torch.Tensor:
        """Scores [sequences, vocabulary] of the token after each sequence's last one.

        The sequences lie in the rows from `first` on; their new `tokens` stand from position `starts` on.
        """
        lengths = [len(row) for row in tokens]
        ids = padded(tokens, device=self.device)
        positions = torch.tensor(starts, device=self.device)[:, None] + torch.arange(ids.shape[1], device=self.device)
        window = self._slots.open(first, positions)
        ends = sorted({length - 1 for length in lengths})
        with torch.inference_mode(), self.adapters.of_rows(adapters):
            output = self.model(
                input_ids=ids,
                attention_mask=self._mask(window),
                position_ids=positions,
                past_key_values=self._slots.cache,
                use_cache=True,
                logits_to_keep=torch.tensor(ends, device=self.device),
            )
            kept = torch.tensor([ends.index(length - 1) for length in lengths], device=self.device)
            scores: torch.Tensor = output.logits[torch.arange(len(tokens), device=self.device), kept]
        return scores

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first tokens of a row into another."""
        with torch.inference_mode():
            self._slots.move(source, target, length)

    @property
    def bytes_per_token(self) -> int:
        """What the cache holds for one token of one sequence; known once a token was read."""
        return self._slots.bytes_per_token

    def loss(self, tokens: Sequence[int]) -> float:
        """Nats of all tokens of a text behind its first, each predicted from those before it; their sum."""
        with torch.inference_mode():
            ids = torch.tensor([list(tokens)], device=self.device)
            scores = self.model(input_ids=ids, use_cache=False).logits[0, :-1].float()
            return float(functional.cross_entropy(scores, ids[0, 1:], reduction="sum"))

    def embed(self, tokens: Sequence[int]) -> list[float]:
        """The mean of the last hidden states of a text."""
        with torch.inference_mode():
            ids = torch.tensor([list(tokens)], device=self.device)
            hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            mean: list[float] = hidden[0].float().mean(dim=0).tolist()
        return mean

    def _mask(self, window: Window) -> Any:
        made = {
            kind: self._as_wanted(visible(window, sliding=self._sliding if kind == SLIDING else None))
            for kind in self._kinds
        }
        return made if len(made) > 1 else next(iter(made.values()))

    def _as_wanted(self, seen: torch.Tensor) -> torch.Tensor:
        """As booleans, or as numbers that are added to the scores where the model has no fused attention."""
        if self.model.config._attn_implementation != "eager":
            return seen
        lowest = torch.finfo(self.model.dtype).min
        return torch.zeros_like(seen, dtype=self.model.dtype).masked_fill(~seen, lowest)


def _attention_kinds(config: Any) -> tuple[str, ...]:
    """The kinds of attention that a model's layers have. Raises SpecError for one that keeps something else."""
    kinds = set(getattr(config, "layer_types", None) or [SLIDING if getattr(config, "sliding_window", None) else FULL])
    if unknown := sorted(kinds - {FULL, SLIDING}):
        raise SpecError(
            f"the model has layers of kind {unknown[0]!r}, whose state the transformers engine does not keep",
            hint="serve it with the vllm engine",
        )
    return tuple(sorted(kinds))
