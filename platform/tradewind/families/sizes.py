"""How large a decoder is and how much it computes: weights, operations and cache, by one formula for all families.

Counts are those of Hugging Face's models of the same shape; a test builds each and compares.
"""

from __future__ import annotations

from dataclasses import dataclass

from tradewind.catalog.chip import BITS, Precision
from tradewind.families.family import ModelShape


@dataclass(frozen=True)
class Flops:
    """Operations; a multiplication and an addition are two."""

    matmul: float
    """In products with weights."""
    attention: float
    """In the products of queries with keys and of scores with values."""

    @property
    def total(self) -> float:
        return self.matmul + self.attention


def parameters(shape: ModelShape) -> int:
    """Number of weights; a tied matrix counts once.

    DeepSeek-V3's bias of the router is no weight: balancing sets it, not the gradient (DeepSeek-V3, section 2.1.2).
    """
    return routed_parameters(shape) + dense_parameters(shape) + embedding_parameters(shape) + shape.hidden


def active_parameters(shape: ModelShape) -> int:
    """Weights that one token meets: of the routed experts only the active ones; the router and shared experts whole."""
    if not shape.experts:
        return parameters(shape)
    idle = shape.experts.routed - shape.experts.active
    return parameters(shape) - (shape.layers - dense_layers(shape)) * idle * expert_parameters(shape)


def embedding_parameters(shape: ModelShape) -> int:
    """Weights of the embedding and the output matrix; one matrix where they are tied."""
    return shape.vocabulary * shape.hidden * (1 if shape.tied else 2)


def forward_flops_per_token(shape: ModelShape, *, context: int) -> Flops:
    """Operations of one token of a sequence of `context` tokens, read once, on average over the sequence.

    Two for each weight of a matrix that the token meets, the output matrix included and the embedding, a look-up, not
    (Kaplan et al. 2020, section 2.1). Attention is causal: a token sees half of the context, so it costs half of what
    the convention of PaLM's appendix B counts.
    """
    looked_up = embedding_parameters(shape) - shape.vocabulary * shape.hidden
    return Flops(
        matmul=2.0 * (active_parameters(shape) - looked_up),
        attention=1.0 * shape.layers * shape.heads * (shape.head_dim + value_dim(shape)) * context,
    )


def training_flops_per_token(shape: ModelShape, *, context: int) -> Flops:
    """Three forward passes: the backward pass has two products for each one. Recomputation is not counted."""
    forward = forward_flops_per_token(shape, context=context)
    return Flops(matmul=3 * forward.matmul, attention=3 * forward.attention)


def cache_bytes_per_token(shape: ModelShape, precision: Precision) -> int:
    """Bytes of keys and values of one token in all layers.

    Grouped queries keep two vectors for each key head (Ainslie et al. 2023); latent attention keeps one small vector
    and the part with positions for all heads together (DeepSeek-V2, section 2.1.2).
    """
    kept = shape.latent.rank + shape.latent.rope_dim if shape.latent else 2 * shape.kv_heads * shape.head_dim
    return shape.layers * kept * BITS[precision] // 8


def dense_layers(shape: ModelShape) -> int:
    """Layers without a mixture of experts."""
    return min(shape.layers, shape.experts.dense_layers) if shape.experts else shape.layers


def value_dim(shape: ModelShape) -> int:
    """Width of a head of values."""
    return shape.latent.value_dim if shape.latent else shape.head_dim


def expert_parameters(shape: ModelShape) -> int:
    """Weights of one expert; 0 for a model without."""
    return 3 * shape.hidden * shape.experts.ffn if shape.experts else 0


def routed_parameters(shape: ModelShape) -> int:
    """Weights of the routed experts of all blocks."""
    routed = shape.experts.routed if shape.experts else 0
    return (shape.layers - dense_layers(shape)) * routed * expert_parameters(shape)


def dense_parameters(shape: ModelShape) -> int:
    """Weights of all blocks outside routed experts: attention, norms, feed-forwards, routers, shared experts."""
    dense = dense_layers(shape)
    weights = shape.layers * (attention_parameters(shape) + 2 * shape.hidden) + dense * 3 * shape.hidden * shape.ffn
    if shape.experts:
        shared = shape.experts.shared * expert_parameters(shape) + shape.experts.routed * shape.hidden
        weights += (shape.layers - dense) * shared
    return weights


def attention_parameters(shape: ModelShape) -> int:
    """Weights of the attention of one block, its own norms and biases included."""
    if shape.latent:
        return _latent_attention(shape)
    projections = 2 * shape.hidden * shape.head_dim * (shape.heads + shape.kv_heads)
    biases = shape.head_dim * (shape.heads + 2 * shape.kv_heads) if shape.qkv_bias else 0
    return projections + biases + (2 * shape.head_dim if shape.qk_norm else 0)


def _latent_attention(shape: ModelShape) -> int:
    latent = shape.latent
    assert latent is not None
    wide = shape.heads * shape.head_dim
    queries = shape.hidden * wide
    if latent.query_rank:
        queries = (shape.hidden + 1 + wide) * latent.query_rank
    down = shape.hidden * (latent.rank + latent.rope_dim) + latent.rank
    up = latent.rank * shape.heads * (latent.plain_dim + latent.value_dim)
    return queries + down + up + shape.heads * latent.value_dim * shape.hidden
