"""Rotary positions (Su et al. 2021, section 3.2.2) on joined queries, keys and values, in the half-split layout."""

from __future__ import annotations

import torch
from torch import Tensor

from tradewind.training.kernels.norm import note, wide


def turn_(joined: Tensor, cos: Tensor, sin: Tensor, turned_heads: int) -> None:
    """Turn the first heads of `joined` [tokens, heads x head_dim] in place by their position's angle.

    `cos` and `sin` are [time, head_dim], both halves alike; tokens run through time again and again.
    """
    if joined.is_cuda:
        from tradewind.training.kernels.on_gpu import rotary as on_gpu

        on_gpu.turn_(joined, cos, sin, turned_heads)
        return
    heads = joined[:, : turned_heads * cos.shape[1]]
    heads.copy_(turned(heads.reshape(len(joined), turned_heads, -1), cos, sin).flatten(1))


def join_turned_back(
    q: Tensor, k: Tensor, v: Tensor, cos: Tensor, sin: Tensor, largest: Tensor | None = None
) -> Tensor:
    """Gradients of queries, keys and values, each [tokens, heads, head_dim], as that of what `turn_` was given."""
    if q.is_cuda:
        from tradewind.training.kernels.on_gpu import rotary as on_gpu

        return on_gpu.join_turned_back(q, k, v, cos, sin, largest)
    joined = torch.cat([turned(q, cos, -sin), turned(k, cos, -sin), v], dim=1).flatten(1)
    note(largest, joined)
    return joined


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """[tokens, heads, head_dim] with each pair (i, i + head_dim / 2) turned."""
    repeats, half = len(x) // len(cos), x.shape[-1] // 2
    cos, sin = (table.repeat(repeats, 1)[:, None, :] for table in (cos, sin))
    swapped = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return (wide(x) * cos + wide(swapped) * sin).to(x.dtype)
