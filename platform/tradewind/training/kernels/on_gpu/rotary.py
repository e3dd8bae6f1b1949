"""Rotary positions: a program turns all heads of one token, `HEADS` at a time."""
# mypy: disable-error-code="no-untyped-def,untyped-decorator,import-not-found"
# ruff: noqa: ANN001, ANN202, N803 (Triton gives arguments their types; constants of a kernel are in capitals)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

HEADS = 8


@triton.jit
def _turn(
    source,
    target,
    from_stride,
    to_stride,
    from_start,
    to_start,
    token,
    head,
    count,
    cosine,
    sine,
    SIGN: tl.constexpr,
    TURN: tl.constexpr,
    HALF: tl.constexpr,
    HEADS: tl.constexpr,
):
    """Heads `head` and after of one token from `source` to `target`; gives the largest |value|."""
    heads = head + tl.arange(0, HEADS)[:, None]
    lane = tl.arange(0, HALF)[None, :]
    inside = heads < count
    at = heads * (2 * HALF) + lane
    a = tl.load(source + token * from_stride + from_start + at, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(source + token * from_stride + from_start + at + HALF, mask=inside, other=0.0).to(tl.float32)
    if TURN:
        c, s = cosine, sine * SIGN
        a, b = a * c - b * s, b * c + a * s
    kept_a, kept_b = a.to(target.dtype.element_ty), b.to(target.dtype.element_ty)
    tl.store(target + token * to_stride + to_start + at, kept_a, mask=inside)
    tl.store(target + token * to_stride + to_start + at + HALF, kept_b, mask=inside)
    return tl.max(tl.maximum(tl.abs(kept_a.to(tl.float32)), tl.abs(kept_b.to(tl.float32))))


@triton.jit
def _turn_in_place(joined, cos, sin, stride, time, TURNED: tl.constexpr, HALF: tl.constexpr, HEADS: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, HALF)[None, :]
    row = (token % time) * (2 * HALF)
    cosine, sine = tl.load(cos + row + lane), tl.load(sin + row + lane)
    for head in tl.static_range(0, TURNED, HEADS):
        _turn(joined, joined, stride, stride, 0, 0, token, head, TURNED, cosine, sine, 1.0, True, HALF, HEADS)


@triton.jit
def _join(
    q,
    k,
    v,
    joined,
    cos,
    sin,
    largest,
    q_stride,
    k_stride,
    v_stride,
    time,
    Q: tl.constexpr,
    K: tl.constexpr,
    NOTE: tl.constexpr,
    HALF: tl.constexpr,
    HEADS: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, HALF)[None, :]
    row = (token % time) * (2 * HALF)
    cosine, sine = tl.load(cos + row + lane), tl.load(sin + row + lane)
    stride = (Q + 2 * K) * 2 * HALF
    top = 0.0
    for head in tl.static_range(0, Q, HEADS):
        top = tl.maximum(
            top, _turn(q, joined, q_stride, stride, 0, 0, token, head, Q, cosine, sine, -1.0, True, HALF, HEADS)
        )
    for head in tl.static_range(0, K, HEADS):
        top = tl.maximum(
            top,
            _turn(k, joined, k_stride, stride, 0, Q * 2 * HALF, token, head, K, cosine, sine, -1.0, True, HALF, HEADS),
        )
        top = tl.maximum(
            top,
            _turn(
                v,
                joined,
                v_stride,
                stride,
                0,
                (Q + K) * 2 * HALF,
                token,
                head,
                K,
                cosine,
                sine,
                -1.0,
                False,
                HALF,
                HEADS,
            ),
        )
    if NOTE:
        tl.atomic_max(largest, top, sem="relaxed")


def turn_(joined: Tensor, cos: Tensor, sin: Tensor, turned_heads: int) -> None:
    time, head_dim = cos.shape
    _turn_in_place[(len(joined),)](
        joined, cos, sin, joined.stride(0), time, TURNED=turned_heads, HALF=head_dim // 2, HEADS=HEADS, num_warps=4
    )


def join_turned_back(q: Tensor, k: Tensor, v: Tensor, cos: Tensor, sin: Tensor, largest: Tensor | None) -> Tensor:
    (tokens, heads, head_dim), kv_heads = q.shape, k.shape[1]
    q, k, v = (x if x.stride()[1:] == (head_dim, 1) else x.contiguous() for x in (q, k, v))
    joined = torch.empty(tokens, (heads + 2 * kv_heads) * head_dim, dtype=q.dtype, device=q.device)
    _join[(tokens,)](
        q, k, v, joined, cos, sin, cos if largest is None else largest, q.stride(0), k.stride(0), v.stride(0), len(cos),
        Q=heads, K=kv_heads, NOTE=largest is not None, HALF=head_dim // 2, HEADS=HEADS, num_warps=4,
    )  # fmt: skip
    return joined
