"""RMSNorm: a row to a program forward; backward, programs keep the weight's gradient in registers over many rows."""
# mypy: disable-error-code="no-untyped-def,untyped-decorator,import-not-found"
# ruff: noqa: ANN001, ANN202, N803 (Triton gives arguments their types; constants of a kernel are in capitals)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

PROGRAMS_PER_PROCESSOR = 2
"""Of the backward kernel: as many as fit at 4,096 columns, whose next rows are under way while one is worked on."""


@triton.jit
def _add_rms_norm(
    x,
    y,
    weight,
    total,
    normed,
    inverse,
    largest,
    columns,
    eps,
    ADD: tl.constexpr,
    NOTE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    inside = at < columns
    value = tl.load(x + row * columns + at, mask=inside, other=0.0).to(tl.float32)
    if ADD:
        value += tl.load(y + row * columns + at, mask=inside, other=0.0).to(tl.float32)
        rounded = value.to(total.dtype.element_ty)
        tl.store(total + row * columns + at, rounded, mask=inside)
        value = rounded.to(tl.float32)
    scale = tl.rsqrt(tl.sum(value * value, axis=0) / columns + eps)
    tl.store(inverse + row, scale)
    by = tl.load(weight + at, mask=inside, other=0.0).to(tl.float32)
    out = (value * scale * by).to(normed.dtype.element_ty)
    tl.store(normed + row * columns + at, out, mask=inside)
    if NOTE:
        tl.atomic_max(largest, tl.max(tl.abs(out.to(tl.float32)), axis=0), sem="relaxed")


@triton.jit
def _backward(
    grad,
    x,
    weight,
    inverse,
    beside,
    by_x,
    by_weight,
    largest,
    rows,
    columns,
    BESIDE: tl.constexpr,
    NOTE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    first = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < columns
    by = tl.load(weight + at, mask=inside, other=0.0).to(tl.float32)
    summed = tl.zeros((BLOCK,), dtype=tl.float32)
    top = 0.0
    start = first.to(tl.int64) * columns
    step = tl.num_programs(0) * columns
    next_x = tl.load(x + start + at, mask=inside, other=0.0)
    next_grad = tl.load(grad + start + at, mask=inside, other=0.0)
    for row in range(first, rows, tl.num_programs(0)):
        scale = tl.load(inverse + row)
        unit = next_x.to(tl.float32) * scale
        reached = next_grad.to(tl.float32)
        ahead = inside & (row + tl.num_programs(0) < rows)
        next_x = tl.load(x + start + step + at, mask=ahead, other=0.0)
        next_grad = tl.load(grad + start + step + at, mask=ahead, other=0.0)
        summed += reached * unit
        weighted = reached * by
        mean = tl.sum(weighted * unit, axis=0) / columns
        out = scale * (weighted - unit * mean)
        if BESIDE:
            out += tl.load(beside + start + at, mask=inside, other=0.0).to(tl.float32)
        rounded = out.to(by_x.dtype.element_ty)
        tl.store(by_x + start + at, rounded, mask=inside)
        if NOTE:
            top = tl.maximum(top, tl.max(tl.abs(rounded.to(tl.float32)), axis=0))
        start += step
    tl.store(by_weight + first * columns + at, summed, mask=inside)
    if NOTE:
        tl.atomic_max(largest, top, sem="relaxed")


@triton.jit
def _sum_rows(parts, out, rows, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    at = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    summed = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for row in range(0, rows, ROWS):
        down = row + tl.arange(0, ROWS)
        inside = (down[:, None] < rows) & (at[None, :] < columns)
        summed += tl.load(parts + down[:, None] * columns + at[None, :], mask=inside, other=0.0)
    tl.store(out + at, tl.sum(summed, axis=0).to(out.dtype.element_ty), mask=at < columns)


def add_rms_norm(
    x: Tensor, y: Tensor | None, weight: Tensor, eps: float, largest: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    rows, columns = x.shape
    total = x if y is None else torch.empty_like(x)
    normed = torch.empty_like(x)
    inverse = torch.empty(rows, dtype=torch.float32, device=x.device)
    _add_rms_norm[(rows,)](
        x, x if y is None else y, weight, total, normed, inverse, inverse if largest is None else largest, columns, eps,
        ADD=y is not None, NOTE=largest is not None, BLOCK=triton.next_power_of_2(columns), num_warps=_warps(columns),
    )  # fmt: skip
    return total, normed, inverse


def rms_norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor, inverse: Tensor, beside: Tensor | None, largest: Tensor | None
) -> tuple[Tensor, Tensor]:
    rows, columns = x.shape
    programs = min(rows, PROGRAMS_PER_PROCESSOR * processors(x.device))
    by_x = torch.empty_like(x)
    by_weight = torch.empty(programs, columns, dtype=torch.float32, device=x.device)
    _backward[(programs,)](
        grad, x, weight, inverse, grad if beside is None else beside, by_x, by_weight,
        inverse if largest is None else largest, rows, columns,
        BESIDE=beside is not None, NOTE=largest is not None, BLOCK=triton.next_power_of_2(columns),
        num_warps=_warps(columns),
    )  # fmt: skip
    summed = torch.empty_like(weight)
    _sum_rows[(triton.cdiv(columns, 32),)](by_weight, summed, programs, columns, ROWS=64, COLUMNS=32, num_warps=4)
    return by_x, summed


def _warps(columns: int) -> int:
    return int(min(16, max(1, triton.next_power_of_2(columns) // 512)))


def processors(device: torch.device) -> int:
    if device.type != "cuda":
        return 2
    return int(torch.cuda.get_device_properties(device).multi_processor_count)
