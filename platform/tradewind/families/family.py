"""What a model family knows: how a spec becomes a shape, how large it is, what Hugging Face calls it. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from tradewind.specs import ModelSpec


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a decoder. Widths in elements, `context` and `vocabulary` in tokens."""

    family: str
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    context: int
    tied: bool
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5


class Family(Protocol):
    def shape(self, spec: ModelSpec, *, vocabulary: int, context: int) -> ModelShape:
        """The sizes that a spec means, defaults worked out."""

    def parameters(self, shape: ModelShape) -> int:
        """Number of weights; a tied matrix counts once."""

    def hugging_face_config(self, shape: ModelShape) -> dict[str, Any]:
        """The content of `config.json`."""
