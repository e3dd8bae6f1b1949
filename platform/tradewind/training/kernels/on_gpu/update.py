"""AdamW at the speed of memory, and sums of squares whose order of addition never changes."""
# mypy: disable-error-code="no-untyped-def,untyped-decorator,import-not-found"
# ruff: noqa: ANN001, ANN202, N803 (Triton gives arguments their types; constants of a kernel are in capitals)

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

if TYPE_CHECKING:
    from tradewind.training.kernels.update import AdamWNumbers

BLOCK = 4096
SUMMED = 16384
"""Elements that one program of `_squares` sums."""


@triton.jit
def _squares(grad, sums, share, count, SUMMED: tl.constexpr, BLOCK: tl.constexpr):
    first = tl.program_id(0).to(tl.int64) * SUMMED
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, SUMMED, BLOCK):
        at = first + start + tl.arange(0, BLOCK)
        value = tl.load(grad + at, mask=at < count, other=0.0).to(tl.float32)
        total += value * value
    tl.store(sums + tl.program_id(0), tl.sum(total, axis=0) * share)


@triton.jit
def _adamw(
    weight,
    grad,
    mean,
    spread,
    copy,
    shrink,
    count,
    keep,
    gain1,
    beta2,
    gain2,
    eps,
    rate,
    root,
    COPY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    factor = tl.load(shrink)
    if (factor == factor) & (tl.abs(factor) < float("inf")):
        at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        inside = at < count
        g = tl.load(grad + at, mask=inside, other=0.0).to(tl.float32) * factor
        m = tl.load(mean + at, mask=inside, other=0.0).to(tl.float32)
        v = tl.load(spread + at, mask=inside, other=0.0).to(tl.float32)
        w = tl.load(weight + at, mask=inside, other=0.0).to(tl.float32)
        m += (g - m) * gain1
        v = v * beta2 + g * g * gain2
        w = w * keep - rate * m / (tl.sqrt(v) * root + eps)
        moved = w.to(weight.dtype.element_ty)
        tl.store(weight + at, moved, mask=inside)
        tl.store(mean + at, m.to(mean.dtype.element_ty), mask=inside)
        tl.store(spread + at, v.to(spread.dtype.element_ty), mask=inside)
        if COPY:
            tl.store(copy + at, moved.to(copy.dtype.element_ty), mask=inside)


def squares(grads: list[Tensor], shares: list[float]) -> Tensor:
    programs = [triton.cdiv(grad.numel(), SUMMED) for grad in grads]
    sums = torch.empty(sum(programs), dtype=torch.float32, device=grads[0].device)
    for grad, share, part in zip(grads, shares, torch.split(sums, programs), strict=True):
        _squares[(len(part),)](grad, part, share, grad.numel(), SUMMED=SUMMED, BLOCK=2 * BLOCK, num_warps=8)
    return sums.sum()


@triton.jit
def _add_parts(parts, out, count, PARTS: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    part = parts + at
    total = tl.load(part, mask=inside, other=0.0).to(tl.float32)
    for _ in range(1, PARTS):
        part += count
        total += tl.load(part, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + at, total.to(out.dtype.element_ty), mask=inside)


def add_parts(parts: Tensor, out: Tensor) -> None:
    count, number = parts.shape
    _add_parts[(triton.cdiv(number, BLOCK),)](parts, out, number, PARTS=count, BLOCK=BLOCK, num_warps=8)


@triton.jit
def _scale(x, factor, count, BLOCK: tl.constexpr):
    by = tl.load(factor).to(tl.float32)
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + at, mask=at < count, other=0.0).to(tl.float32) * by
    tl.store(x + at, value.to(x.dtype.element_ty), mask=at < count)


def scale_(x: Tensor, factor: Tensor) -> None:
    _scale[(triton.cdiv(x.numel(), BLOCK),)](x, factor, x.numel(), BLOCK=BLOCK, num_warps=8)


def adamw_(
    weight: Tensor,
    grad: Tensor,
    mean: Tensor,
    spread: Tensor,
    shrink: Tensor,
    numbers: AdamWNumbers,
    copy: Tensor | None,
) -> None:
    (beta1, beta2), (first, second) = numbers.betas, numbers.corrections
    _adamw[(triton.cdiv(weight.numel(), BLOCK),)](
        weight, grad, mean, spread, weight if copy is None else copy, shrink, weight.numel(),
        1 - numbers.learning_rate * numbers.weight_decay, 1 - beta1, beta2, 1 - beta2, numbers.eps,
        numbers.learning_rate / first, second**-0.5, COPY=copy is not None, BLOCK=BLOCK, num_warps=8,
    )  # fmt: skip
