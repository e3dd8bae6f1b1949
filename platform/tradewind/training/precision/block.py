"""A dense decoder block whose backward pass is written out, so that every pass over memory does all it can.

    x ── norm ── q, k, v ── rotary ── attention ── out ──(+)── norm ── gate, up ── SwiGLU ── down ──(+)──
    │                                                     │ │                                             │
    └─────────────────────────────────────────────────────┘ └─────────────────────────────────────────────┘
         `Projections`                (torch)                              `Remainder`

What is kept for the backward pass: x, q, k, v, attention's result, the sum before the second norm, both normed inputs
(in float8, transposed, where products are in float8), and gate and up unless they are to be made again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tradewind.training.kernels import (
    add_rms_norm,
    join_turned_back,
    largest,
    rms_norm,
    rms_norm_backward,
    swiglu,
    swiglu_backward,
    turn_,
)
from tradewind.training.model.attention import Mask, attend
from tradewind.training.precision.products import Products
from tradewind.training.precision.tokens import Tokens, Whole, arrived


@dataclass(frozen=True)
class How:
    """What blocks of one model share."""

    products: Products
    tokens: Tokens = field(default_factory=Whole)
    keep_wide: bool = True
    """Whether gate and up are kept for the backward pass, of a block's activations about two thirds."""


@dataclass(frozen=True)
class Heads:
    queries: int
    pairs: int
    """Keys, and as many values."""
    dim: int


class Projections(torch.autograd.Function):
    """(x, weights of norm, q, k, v, cos, sin) → (x, turned queries, turned keys, values), each [tokens, heads, dim].

    x comes out as it went in: the gradient that reaches it further on is added in the pass that ends this one.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        norm: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        cos: Tensor,
        sin: Tensor,
        eps: float,
        heads: Heads,
        sequences: int,
        how: How,
    ) -> tuple[Tensor, ...]:
        products, tokens = how.products, how.tokens
        x = arrived(x)
        top = _top(products, x)
        normed, inverse = rms_norm(x, norm, eps, top)
        product = products.forward(tokens.gather(normed, sequences), tokens.agree(top), (q, k, v), keep=True)
        joined = product.out
        turn_(joined, cos, sin, heads.queries + heads.pairs)
        ctx.save_for_backward(x, norm, q, k, v, cos, sin, inverse, product.weights_top, *product.kept)
        ctx.how, ctx.sequences = how, sequences
        whole = joined.view(len(joined), -1, heads.dim)
        parts = torch.split(whole, [heads.queries, heads.pairs, heads.pairs], dim=1)
        return x.view_as(x), *parts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, beside: Tensor, by_q: Tensor, by_k: Tensor, by_v: Tensor) -> tuple[Tensor | None, ...]:
        x, norm, q, k, v, cos, sin, inverse, weights_top, *kept = ctx.saved_tensors
        products: Products = ctx.how.products
        top = _top(products, x)
        grad = products.reached(join_turned_back(by_q, by_k, by_v, cos, sin, top), top)
        by_normed = ctx.how.tokens.scatter(products.by_input(grad, (q, k, v), weights_top), ctx.sequences)
        by_weights = products.by_weights(grad, tuple(kept), (q, k, v))
        by_x, by_norm = rms_norm_backward(by_normed, x, norm, inverse, arrived(beside))
        return by_x, by_norm, *by_weights, *[None] * 6


class Remainder(torch.autograd.Function):
    """(x, mixed values, out weight, norm weight, gate, up, down weights) → the block's result."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        mixed: Tensor,
        out: Tensor,
        norm: Tensor,
        gate: Tensor,
        up: Tensor,
        down: Tensor,
        eps: float,
        sequences: int,
        how: How,
    ) -> Tensor:
        products, tokens = how.products, how.tokens
        x, mixed = arrived(x), arrived(mixed)
        mixed_top = largest(mixed) if products.notes else None
        projected = products.forward(mixed, mixed_top, (out,), keep=False)
        top = _top(products, x)
        total, normed, inverse = add_rms_norm(x, tokens.scatter(projected.out, sequences), norm, eps, top)
        wide = products.forward(tokens.gather(normed, sequences), tokens.agree(top), (gate, up), keep=how.keep_wide)
        inner_top = _top(products, x)
        inner = swiglu(wide.out, inner_top)
        result = products.forward(inner, inner_top, (down,), keep=False)
        ctx.tops = mixed_top, projected.weights_top, wide.weights_top, inner_top, result.weights_top
        ctx.how, ctx.eps, ctx.sequences = how, eps, sequences
        ctx.save_for_backward(
            mixed, out, norm, gate, up, down, total, inverse, *((wide.out, *wide.kept) if how.keep_wide else ())
        )
        return total + tokens.scatter(result.out, sequences)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, reached: Tensor) -> tuple[Tensor | None, ...]:
        products: Products = ctx.how.products
        tokens, sequences = ctx.how.tokens, ctx.sequences
        mixed, out, norm, gate, up, down, total, inverse, *rest = ctx.saved_tensors
        mixed_top, out_top, wide_top, inner_top, down_top = ctx.tops
        gate_up, kept = (rest[0], tuple(rest[1:])) if ctx.how.keep_wide else _again(ctx, total, norm, gate, up)
        reached = arrived(reached)
        grad = products.reached(tokens.gather(reached, sequences), None)
        wide_grad_top = _top(products, total)
        wide_grad, inner = swiglu_backward(products.by_input(grad, (down,), down_top), gate_up, wide_grad_top)
        (by_down,) = products.by_weights(grad, products.kept(inner, inner_top), (down,))
        grad = products.reached(wide_grad, wide_grad_top)
        del inner, wide_grad, gate_up, rest
        by_normed = tokens.scatter(products.by_input(grad, (gate, up), wide_top), sequences)
        by_gate, by_up = products.by_weights(grad, kept, (gate, up))
        top = _top(products, total)
        by_x, by_norm = rms_norm_backward(by_normed, total, norm, inverse, reached, top)
        grad = products.reached(tokens.gather(by_x, sequences), tokens.agree(top))
        by_mixed = products.by_input(grad, (out,), out_top)
        (by_out,) = products.by_weights(grad, products.kept(mixed, mixed_top), (out,))
        return by_x, by_mixed, by_out, by_norm, by_gate, by_up, by_down, None, None, None


def forward(layer: nn.Module, how: How, x: Tensor, cos: Tensor, sin: Tensor, mask: Mask) -> Tensor:
    """What `model.decoder.Block.forward` gives, by the functions above."""
    attention, feed = cast(Any, layer.self_attn), cast(Any, layer.mlp)
    first, second = cast(nn.RMSNorm, layer.input_layernorm), cast(nn.RMSNorm, layer.post_attention_layernorm)
    batch, time, width = x.shape
    queries, keys, values = attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight
    dim = attention.head_dim
    heads = Heads(len(queries) // dim, len(keys) // dim, dim)
    tables = cos.reshape(-1, dim), sin.reshape(-1, dim)
    projected = Projections.apply(  # type: ignore[no-untyped-call]
        x.flatten(0, 1), first.weight, queries, keys, values, *tables, first.eps, heads, batch, how
    )
    rows, *parts = projected
    q, k, v = (part.view(batch, -1, part.shape[1], dim).transpose(1, 2) for part in parts)
    mixed = attend(q, k, v, mask, scale=attention.scale).transpose(1, 2).flatten(2).flatten(0, 1)
    weights = attention.o_proj.weight, second.weight, feed.gate_proj.weight, feed.up_proj.weight, feed.down_proj.weight
    result: Tensor = Remainder.apply(rows, mixed, *weights, second.eps, batch, how)  # type: ignore[no-untyped-call]
    return result.view(batch, time, width)


def _top(products: Products, like: Tensor) -> Tensor | None:
    return torch.zeros((), dtype=torch.float32, device=like.device) if products.notes else None


def _again(ctx: Any, total: Tensor, norm: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Gate and up, and what their weights' gradient needs, from the sum before the norm."""
    top = _top(ctx.how.products, total)
    normed, _ = rms_norm(total, norm, ctx.eps, top)
    tokens: Tokens = ctx.how.tokens
    product = ctx.how.products.forward(tokens.gather(normed, ctx.sequences), tokens.agree(top), (gate, up), keep=True)
    return product.out, product.kept
