"""What a token leaves in memory between its forward and its backward pass, and what the backward pass adds.

After Korthikanti et al. 2022, section 4, for blocks with RMSNorm, SwiGLU and attention that keeps no scores (flash
attention, Dao et al. 2022): instead of 34 s b h + 5 a s² b, a few widths for each token. The terms were read off
torch's autograd by counting live storages, and hold to the byte there; those of compiled blocks were fitted to runs
of Llama 3.1 8B on an H200 with torch 2.11.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from tradewind.families import ModelShape
from tradewind.families.sizes import value_dim
from tradewind.planner.layout import Recompute
from tradewind.planner.trainer import Trainer


@dataclass(frozen=True)
class BlockActivations:
    """Bytes for each token in one block, before any split over chips."""

    kept: float
    """From the forward to the backward pass, `recompute` applied."""
    whole: float
    """Kept if nothing were recomputed: what a block that is recomputed holds during its backward pass."""
    backward: float
    """Besides, while the backward pass goes through the block: derivatives on their way."""


@functools.cache
def block_activations(
    shape: ModelShape, trainer: Trainer, recompute: Recompute, *, each: int, sums: int, fp8: bool, experts: bool
) -> BlockActivations:
    """Activations of a block with or without experts, activations of `each` bytes and a residual stream of `sums`.

    `fp8` leaves out what is recomputed while it is cast again: norms and the product inside the feed-forward.
    """
    hidden = shape.hidden
    attention = _attention(shape)
    inner, routed = _inner(shape, experts=experts), _routed(shape, experts=experts)
    statistics = 4 * (shape.heads + 2)
    if trainer.kernels == "compiled":
        norms = 0 if fp8 else 2 * hidden
        wide = (2 if fp8 else 3) * inner
        whole = sums * 2 * hidden + each * (norms + attention + wide + routed) + statistics
    else:
        norms = _eager_norms(shape, trainer, each, sums)
        whole = norms + each * (attention + 4 * inner + routed) + statistics
    kept = {
        "none": whole,
        "selective": sums * hidden + each * _every_second_product(shape, experts=experts) + statistics,
        "full": float(sums * hidden),
    }[recompute]
    return BlockActivations(kept, whole, each * (2 * inner + 2 * hidden) + sums * hidden)


def _attention(shape: ModelShape) -> int:
    """Queries, keys, values and the result, each as the backward pass of attention reads them."""
    value = shape.heads * value_dim(shape)
    if shape.latent:
        ranks = (shape.latent.query_rank or 0) + shape.latent.rank
        return 2 * shape.heads * shape.head_dim + 2 * value + 2 * ranks
    extra = (shape.heads + shape.kv_heads) * shape.head_dim if shape.qk_norm else 0
    return 2 * value + 2 * shape.kv_heads * shape.head_dim + extra


def _inner(shape: ModelShape, *, experts: bool) -> int:
    """Width inside the feed-forward, or inside all experts that a token visits together."""
    if shape.experts and experts:
        return (shape.experts.active + shape.experts.shared) * shape.experts.ffn
    return shape.ffn


def _routed(shape: ModelShape, *, experts: bool) -> int:
    """What dispatching keeps: a token's input and output for each expert that it visits, and the router's scores."""
    if shape.experts and experts:
        return 2 * shape.experts.active * shape.hidden + 2 * shape.experts.routed
    return 0


def _eager_norms(shape: ModelShape, trainer: Trainer, each: int, sums: int) -> int:
    """Both norms of a block with their inputs: torch's basic operations keep the normed input too, and autocast makes
    a 16-bit copy of the output for each of the five matrices behind them.
    """
    inputs = sums * (2 if trainer.kernels == "plain" else 1)
    outputs = 5 * each if sums > each else 2 * each
    return shape.hidden * (2 * inputs + outputs)


def _every_second_product(shape: ModelShape, *, experts: bool) -> int:
    """Results of every second matrix product, in torchtitan's order, and of attention."""
    value = shape.heads * value_dim(shape)
    if shape.latent:
        return value + (shape.latent.query_rank or 0) + shape.latent.rank + value + _inner(shape, experts=experts)
    queries, values = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return value + queries + values + _inner(shape, experts=experts) + shape.hidden
