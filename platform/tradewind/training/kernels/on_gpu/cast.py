"""Casts to float8: a program reads one tile and writes it by rows, by columns, or both; or it has a row to itself.

Bytes that move for each value in bfloat16: 3 by rows or by columns and 4 for both under one scale that is known; with
a scale for each row 3 by rows, 5 by columns and 6 for both, whose scales take a pass of their own.
"""
# mypy: disable-error-code="no-untyped-def,untyped-decorator,import-not-found"
# ruff: noqa: ANN001, ANN202, N803 (Triton gives arguments their types; constants of a kernel are in capitals)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from tradewind.training.kernels.cast import SMALLEST, Scaled
from tradewind.training.kernels.on_gpu.norm import processors

TILE = 128
CHUNK = 8192
ROW = 8192
"""Columns that a program keeps in registers, so that three fit a processor; those beyond it reads again, from cache."""


@triton.jit
def _note(x, largest, count, BLOCK: tl.constexpr):
    top = tl.zeros((BLOCK,), dtype=tl.float32)
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    for _ in range(tl.program_id(0), tl.cdiv(count, BLOCK), tl.num_programs(0)):
        top = tl.maximum(top, tl.abs(tl.load(x + at, mask=at < count, other=0.0).to(tl.float32)))
        at += tl.num_programs(0) * BLOCK
    tl.atomic_max(largest, tl.max(top, axis=0), sem="relaxed")


@triton.jit
def _fill(
    x,
    top,
    rows,
    columns,
    scale,
    height,
    width,
    rows_stride,
    columns_stride,
    LIMIT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    TILE: tl.constexpr,
):
    reach = tl.maximum(tl.load(top), 1e-12)
    if (tl.program_id(0) == 0) & (tl.program_id(1) == 0):
        tl.store(scale, reach / LIMIT)
    across = tl.program_id(0) * TILE + tl.arange(0, TILE)
    down = tl.program_id(1).to(tl.int64) * TILE + tl.arange(0, TILE)
    inside = (down[:, None] < height) & (across[None, :] < width)
    value = tl.load(x + down[:, None] * width + across[None, :], mask=inside, other=0.0).to(tl.float32) * (
        LIMIT / reach
    )
    value = tl.minimum(tl.maximum(value, -LIMIT), LIMIT)
    if ROWS:
        tl.store(rows + down[:, None] * rows_stride + across[None, :], value.to(rows.dtype.element_ty), mask=inside)
    if COLUMNS:
        turned = tl.trans(value.to(columns.dtype.element_ty))
        inside = (across[:, None] < width) & (down[None, :] < height)
        tl.store(columns + across[:, None].to(tl.int64) * columns_stride + down[None, :], turned, mask=inside)


@triton.jit
def _fill_rows(x, rows, scale, width, LIMIT: tl.constexpr, SMALLEST: tl.constexpr, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * width
    at = tl.arange(0, BLOCK)
    first = tl.load(x + start + at, mask=at < width, other=0.0).to(tl.float32)
    top = tl.max(tl.abs(first), axis=0)
    for after in range(BLOCK, width, BLOCK):
        value = tl.load(x + start + after + at, mask=after + at < width, other=0.0).to(tl.float32)
        top = tl.maximum(top, tl.max(tl.abs(value), axis=0))
    reach = tl.maximum(top, SMALLEST) / LIMIT
    tl.store(scale + tl.program_id(0), reach)
    factor = 1.0 / reach
    first = tl.minimum(tl.maximum(first * factor, -LIMIT), LIMIT)
    tl.store(rows + start + at, first.to(rows.dtype.element_ty), mask=at < width)
    for after in range(BLOCK, width, BLOCK):
        value = tl.load(x + start + after + at, mask=after + at < width, other=0.0).to(tl.float32)
        value = tl.minimum(tl.maximum(value * factor, -LIMIT), LIMIT)
        tl.store(rows + start + after + at, value.to(rows.dtype.element_ty), mask=after + at < width)


@triton.jit
def _note_each(
    x,
    scale,
    columns_scale,
    height,
    width,
    LIMIT: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
):
    across = tl.program_id(0) * TILE + tl.arange(0, TILE)
    down = tl.program_id(1).to(tl.int64) * TILE + tl.arange(0, TILE)
    inside = (down[:, None] < height) & (across[None, :] < width)
    size = tl.abs(tl.load(x + down[:, None] * width + across[None, :], mask=inside, other=0.0).to(tl.float32))
    tl.atomic_max(columns_scale + across, tl.max(size, axis=0) / LIMIT, mask=across < width, sem="relaxed")
    if ROWS:
        tl.atomic_max(scale + down, tl.max(size, axis=1) / LIMIT, mask=down < height, sem="relaxed")


@triton.jit
def _fill_each(
    x,
    scale,
    columns_scale,
    rows,
    columns,
    height,
    width,
    columns_stride,
    LIMIT: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
):
    across = tl.program_id(0) * TILE + tl.arange(0, TILE)
    down = tl.program_id(1).to(tl.int64) * TILE + tl.arange(0, TILE)
    inside = (down[:, None] < height) & (across[None, :] < width)
    value = tl.load(x + down[:, None] * width + across[None, :], mask=inside, other=0.0).to(tl.float32)
    if ROWS:
        factor = 1.0 / tl.load(scale + down, mask=down < height, other=1.0)
        out = tl.minimum(tl.maximum(value * factor[:, None], -LIMIT), LIMIT)
        tl.store(rows + down[:, None] * width + across[None, :], out.to(rows.dtype.element_ty), mask=inside)
    factor = 1.0 / tl.load(columns_scale + across, mask=across < width, other=1.0)
    out = tl.minimum(tl.maximum(value * factor[None, :], -LIMIT), LIMIT)
    turned = tl.trans(out.to(columns.dtype.element_ty))
    inside = (across[:, None] < width) & (down[None, :] < height)
    tl.store(columns + across[:, None].to(tl.int64) * columns_stride + down[None, :], turned, mask=inside)


def note(largest: Tensor, x: Tensor) -> None:
    blocks = triton.cdiv(x.numel(), CHUNK)
    _note[(min(blocks, 4 * processors(x.device)),)](x, largest, x.numel(), BLOCK=CHUNK, num_warps=8)


def fill(part: Tensor, top: Tensor, rows: Tensor | None, columns: Tensor | None, scale: Tensor) -> None:
    height, width = part.shape
    target = rows if rows is not None else columns
    assert target is not None
    _fill[(triton.cdiv(width, TILE), triton.cdiv(height, TILE))](
        part, top, target if rows is None else rows, target if columns is None else columns, scale, height, width,
        0 if rows is None else rows.stride(0), 0 if columns is None else columns.stride(0),
        LIMIT=torch.finfo(target.dtype).max, ROWS=rows is not None, COLUMNS=columns is not None, TILE=TILE, num_warps=8,
    )  # fmt: skip


def note_each(part: Tensor, into: Scaled) -> None:
    assert into.columns is not None
    height, width = part.shape
    _note_each[(triton.cdiv(width, TILE), triton.cdiv(height, TILE))](
        part, into.scale, into.columns_scale, height, width,
        LIMIT=torch.finfo(into.columns.dtype).max, ROWS=into.rows is not None, TILE=TILE, num_warps=8,
    )  # fmt: skip


def fill_each(part: Tensor, into: Scaled) -> None:
    height, width = part.shape
    if into.columns is None:
        assert into.rows is not None
        block = min(ROW, triton.next_power_of_2(width))
        _fill_rows[(height,)](
            part, into.rows, into.scale, width,
            LIMIT=torch.finfo(into.rows.dtype).max, SMALLEST=SMALLEST, BLOCK=block, num_warps=max(1, block // 512),
        )  # fmt: skip
        return
    _fill_each[(triton.cdiv(width, TILE), triton.cdiv(height, TILE))](
        part, into.scale, into.columns_scale, into.columns if into.rows is None else into.rows, into.columns,
        height, width, into.columns.stride(0),
        LIMIT=torch.finfo(into.columns.dtype).max, ROWS=into.rows is not None, TILE=TILE, num_warps=8,
    )  # fmt: skip
