"""Causal attention, within documents where their boundaries are given; and grouped queries (Ainslie et al. 2023)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from tradewind.families import ModelShape
from tradewind.training.model.rotary import rotate

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

Seen: TypeAlias = "Tensor | BlockMask"
"""On a CPU, what is seen, [batch, 1, time, time]; on CUDA, the blocks of FlexAttention."""


@dataclass(frozen=True)
class Spread:
    """The queries of some tokens, whose keys and values lie on several ranks."""

    seen: Seen
    """What those tokens see of all keys."""
    gather: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    """Gives all keys and values for those that are here."""


Mask: TypeAlias = "Seen | Spread | None"
"""None is plain causal."""

FASTEST_FIRST = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]
"""H200, 32/8 heads of 128, 8192 tokens, forward and backward: cuDNN 501 TFLOP/s, Flex 334, FlashAttention-2 279
(measured, torch 2.11)."""


def segments_of(documents: Tensor) -> Tensor:
    """Runs of equal numbers in [batch, time], counted from 0: a number that comes again is another document."""
    begins = documents != documents.roll(1, dims=1)
    begins[:, 0] = False
    return begins.cumsum(dim=1)


def document_mask(segments: Tensor) -> Mask:
    """A token sees those of its own segment that are not after it."""
    if segments.is_cuda:
        return _block_mask(segments)
    time = segments.shape[1]
    causal = torch.ones(time, time, dtype=torch.bool, device=segments.device).tril()
    return (causal & (segments[:, :, None] == segments[:, None, :]))[:, None]


def _block_mask(segments: Tensor) -> BlockMask:
    from torch.nn.attention.flex_attention import create_block_mask

    def seen(batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (segments[batch, query] == segments[batch, key])

    batch, time = segments.shape
    return create_block_mask(seen, batch, None, time, time, device=segments.device)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Mask, *, scale: float) -> Tensor:
    """Mix values [batch, kv heads, time, dim] by queries [batch, heads, time, dim] and keys."""
    if isinstance(mask, Spread):
        k, v = mask.gather(k, v)
        mask = mask.seen
    grouped = q.shape[1] != k.shape[1]
    if mask is not None and not isinstance(mask, Tensor):
        return cast(Tensor, _attend_by_blocks(q, k, v, mask, scale=scale, grouped=grouped))
    with sdpa_kernel(FASTEST_FIRST, set_priority=True) if q.is_cuda else contextlib.nullcontext():
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=grouped
        )


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _attend_by_blocks(q: Tensor, k: Tensor, v: Tensor, mask: BlockMask, *, scale: float, grouped: bool) -> Tensor:
    """FlexAttention, compiled by itself.

    Uncompiled it would hold all scores, and as a part of a compiled block of Qwen3 or DeepSeek it mixed the wrong
    values (torch 2.11, H200).
    """
    return cast(Tensor, _compiled_flex_attention()(q, k, v, block_mask=mask, scale=scale, enable_gqa=grouped))


@functools.cache
def _compiled_flex_attention() -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)


class Attention(nn.Module):
    """Grouped queries, with norms on each head of queries and keys (Qwen3) or biases (Qwen2)."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        self.scale = shape.head_dim**-0.5
        self.q_proj = nn.Linear(shape.hidden, shape.heads * shape.head_dim, bias=shape.qkv_bias)
        self.k_proj = nn.Linear(shape.hidden, shape.kv_heads * shape.head_dim, bias=shape.qkv_bias)
        self.v_proj = nn.Linear(shape.hidden, shape.kv_heads * shape.head_dim, bias=shape.qkv_bias)
        self.o_proj = nn.Linear(shape.heads * shape.head_dim, shape.hidden, bias=False)
        self.q_norm = nn.RMSNorm(shape.head_dim, eps=shape.norm_eps) if shape.qk_norm else nn.Identity()
        self.k_norm = nn.RMSNorm(shape.head_dim, eps=shape.norm_eps) if shape.qk_norm else nn.Identity()

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Mask = None) -> Tensor:
        batch, time, _ = x.shape
        q = self.q_norm(self.q_proj(x).view(batch, time, -1, self.head_dim)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(batch, time, -1, self.head_dim)).transpose(1, 2)
        v = self.v_proj(x).view(batch, time, -1, self.head_dim).transpose(1, 2)
        mixed = attend(rotate(q, cos, sin), rotate(k, cos, sin), v, mask, scale=self.scale)
        return cast(Tensor, self.o_proj(mixed.transpose(1, 2).reshape(batch, time, -1)))
