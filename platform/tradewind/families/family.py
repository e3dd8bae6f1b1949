"""What a model family knows: how a spec becomes a shape, how large it is, what Hugging Face calls it. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tradewind.families.rope import RopeScaling
from tradewind.specs import ModelSpec


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention (DeepSeek-V2, section 2.1): keys and values come from one small cached vector."""

    query_rank: int | None
    """Width of the compressed queries; None where queries are projected directly, as in DeepSeek-V2-Lite."""
    rank: int
    """Width of the compressed keys and values, which is what the cache holds, with `rope_dim`."""
    rope_dim: int
    """Part of a head that carries positions."""
    plain_dim: int
    """Part of a query or key head that does not."""
    value_dim: int


@dataclass(frozen=True)
class Experts:
    """A mixture of experts in the place of the feed-forward (DeepSeek-V3, section 2.1.2)."""

    routed: int
    active: int
    """Routed experts that one token visits."""
    shared: int
    """Experts that every token visits."""
    ffn: int
    """Width of one expert."""
    dense_layers: int
    """First layers that keep a feed-forward of the shape's `ffn`."""
    scoring: Literal["softmax", "sigmoid"] = "softmax"
    """How the router turns logits into scores; with sigmoid, a bias that balancing sets decides with the score who is
    chosen, as in DeepSeek-V3."""
    normalized: bool = True
    """The scores of the chosen experts are divided by their sum."""
    scale: float = 1.0
    """What the routed experts' weights are multiplied by."""
    groups: int = 1
    """Groups of experts, of which a token visits only `chosen_groups` (DeepSeek-V2, section 2.2.2)."""
    chosen_groups: int = 1


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a decoder. Widths in elements, `context` and `vocabulary` in tokens.

    With `latent`, `kv_heads` equals `heads` and `head_dim` is the width of a query head.
    """

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
    rope_scaling: RopeScaling | None = None
    norm_eps: float = 1e-5
    qk_norm: bool = False
    """RMSNorm on each head of queries and keys, as in Qwen3."""
    qkv_bias: bool = False
    """Biases on the projections of queries, keys and values, as in Qwen2."""
    latent: Latent | None = None
    experts: Experts | None = None


class Family(Protocol):
    def shape(self, spec: ModelSpec, *, vocabulary: int, context: int) -> ModelShape:
        """The sizes that a spec means, defaults worked out."""

    def hugging_face_config(self, shape: ModelShape) -> dict[str, Any]:
        """The content of `config.json`."""

    def from_hugging_face(self, config: dict[str, Any]) -> ModelShape:
        """The sizes that a `config.json` states. Raises SpecError for one of another family, or with parts missing."""
