"""How usual a text is to a language model: `predictor: tradewind.engines.predict.text_scores:TextScores`.

What a model was trained on takes it few bits a token, what it has never seen takes many: a number by which unusual
texts are found, or text is sorted before the next training.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from tradewind.engines.loading import load_model, load_tokenizer, to_device

EXAMPLE = "The wind was fair, and we made sail before noon.\n"


class TextScores:
    """A text's bits per token and per byte, of its first tokens as far as the model's context goes.

    Of Hugging Face files in float32. The first token is given, not predicted.
    """

    def __init__(self, files: Path) -> None:
        self._tokenizer = load_tokenizer(files)
        self._model = to_device(load_model(files, torch.float32))
        self._context = int(self._model.config.max_position_embeddings)
        self.example = self.read(EXAMPLE)

    def read(self, value: Any) -> list[int]:
        if not isinstance(value, str):
            raise ValueError(f"a text is a string, not {type(value).__name__}")
        tokens: list[int] = self._tokenizer(value)["input_ids"][: self._context]
        if len(tokens) < 2:
            raise ValueError("a text of fewer than two tokens says nothing")
        return tokens

    @torch.inference_mode()
    def predict(self, batch: list[list[int]]) -> list[dict[str, float]]:
        """Shorter texts are filled up at their end, which changes nothing before it: each token sees earlier ones."""
        longest = max(map(len, batch))
        filled = torch.tensor([tokens + [0] * (longest - len(tokens)) for tokens in batch], device=self._model.device)
        scores = self._model(filled).logits[:, :-1].float().transpose(1, 2)
        nats = torch.nn.functional.cross_entropy(scores, filled[:, 1:], reduction="none").cpu()
        return [
            self._score(tokens, float(one[: len(tokens) - 1].sum())) for tokens, one in zip(batch, nats, strict=True)
        ]

    def _score(self, tokens: list[int], nats: float) -> dict[str, float]:
        bits = nats / math.log(2)
        size = len(self._tokenizer.decode(tokens[1:]).encode())
        return {"tokens": len(tokens), "bits_per_token": bits / (len(tokens) - 1), "bits_per_byte": bits / max(size, 1)}
