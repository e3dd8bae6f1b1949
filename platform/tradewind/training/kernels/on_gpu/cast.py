"""Casts to float8: a program reads one tile and writes it by rows, by columns, or both."""
# mypy: disable-error-code="no-untyped-def,untyped-decorator,import-not-found"
# ruff: noqa: ANN001, ANN202, N803 (Triton gives arguments their types; constants of a kernel are in capitals)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from tradewind.training.kernels.on_gpu.norm import processors

TILE = 128
CHUNK = 8192


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
