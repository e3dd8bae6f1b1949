"""Float8 with one scale a tensor, or one a row: the largest |value| meets the largest number of the format.

Micikevicius et al. 2022 (FP8 formats for deep learning), sections 3 and 4: e4m3 for weights and activations, e5m2 for
gradients. The scale is that of the tensor or row at hand, never a guess from earlier steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tradewind.training.kernels.norm import note

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
SMALLEST = 1e-12
"""Least |value| that a scale is made for: a tensor of zeros keeps a finite scale."""


@dataclass(frozen=True)
class Scaled:
    """A matrix in float8: `rows` x `scale` is its value. `columns` is its transpose, in memory too, of `columns_scale`.

    Both scales are the same scalar, or float32 columns with a number for each row of what they scale.
    """

    rows: Tensor | None
    columns: Tensor | None
    scale: Tensor
    columns_scale: Tensor


def largest(*parts: Tensor) -> Tensor:
    """The largest |value| of all parts, a float32 scalar on their device."""
    found = torch.zeros((), dtype=torch.float32, device=parts[0].device)
    for part in parts:
        if part.is_cuda:
            from tradewind.training.kernels.on_gpu import cast as on_gpu

            on_gpu.note(found, part)
        else:
            note(found, part)
    return found


def scaled(parts: tuple[Tensor, ...], top: Tensor, dtype: torch.dtype, *, rows: bool, columns: bool) -> Scaled:
    """The parts, one below the other, in `dtype` under the one scale that `top`, their largest |value|, sets."""
    height, width = sum(len(part) for part in parts), parts[0].shape[1]
    device = parts[0].device
    by_rows = torch.empty(height, width, dtype=dtype, device=device) if rows else None
    by_columns = torch.empty(width, height, dtype=dtype, device=device) if columns else None
    scale = torch.empty((), dtype=torch.float32, device=device)
    start = 0
    for part in parts:
        end = start + len(part)
        fill(
            part,
            top,
            None if by_rows is None else by_rows[start:end],
            None if by_columns is None else by_columns[:, start:end],
            scale,
        )
        start = end
    return Scaled(by_rows, by_columns, scale, scale)


def scaled_by_row(parts: tuple[Tensor, ...], dtype: torch.dtype, *, rows: bool, columns: bool) -> Scaled:
    """The parts, one below the other, in `dtype`, each row under the scale that its own largest |value| sets.

    The transpose is cast anew, under scales of its own rows: those are columns of all parts together.
    """
    sizes, width, device = [len(part) for part in parts], parts[0].shape[1], parts[0].device
    height = sum(sizes)
    least = SMALLEST / torch.finfo(dtype).max
    scales = torch.full((height + width, 1), least, dtype=torch.float32, device=device)
    whole = Scaled(
        torch.empty(height, width, dtype=dtype, device=device) if rows else None,
        torch.empty(width, height, dtype=dtype, device=device) if columns else None,
        *torch.split(scales, [height, width]),
    )
    pieces = list(zip(parts, _pieces(whole, sizes), strict=True))
    if columns:
        for part, piece in pieces:
            note_each(part, piece)
    for part, piece in pieces:
        fill_each(part, piece)
    return whole


def _pieces(whole: Scaled, sizes: list[int]) -> Iterator[Scaled]:
    for size, end in zip(sizes, itertools.accumulate(sizes), strict=True):
        here = slice(end - size, end)
        yield Scaled(
            None if whole.rows is None else whole.rows[here],
            None if whole.columns is None else whole.columns[:, here],
            whole.scale[here],
            whole.columns_scale,
        )


def note_each(part: Tensor, into: Scaled) -> None:
    """Raise the scales of what `into` has to those that the part needs."""
    if part.is_cuda:
        from tradewind.training.kernels.on_gpu import cast as on_gpu

        on_gpu.note_each(part, into)
        return
    for target, scale, dim in ((into.rows, into.scale, 1), (into.columns, into.columns_scale, 0)):
        if target is not None:
            top = part.float().abs().amax(dim)[:, None]
            torch.maximum(scale, top / torch.finfo(target.dtype).max, out=scale)


def fill_each(part: Tensor, into: Scaled) -> None:
    """Cast the part into what `into` has, under its scales; rows alone have theirs set in the same pass."""
    if part.is_cuda:
        from tradewind.training.kernels.on_gpu import cast as on_gpu

        on_gpu.fill_each(part, into)
        return
    if into.columns is None:
        note_each(part, into)
    for target, scale, value in ((into.rows, into.scale, part), (into.columns, into.columns_scale, part.t())):
        if target is not None:
            limit = torch.finfo(target.dtype).max
            target.copy_((value.float() * scale.reciprocal()).clamp(-limit, limit))


def fill(part: Tensor, top: Tensor, rows: Tensor | None, columns: Tensor | None, scale: Tensor) -> None:
    if part.is_cuda:
        from tradewind.training.kernels.on_gpu import cast as on_gpu

        on_gpu.fill(part, top, rows, columns, scale)
        return
    limit = torch.finfo((rows if rows is not None else columns).dtype).max  # type: ignore[union-attr]
    torch.div(top.clamp(min=SMALLEST), limit, out=scale)
    cast = (part.float() / scale).clamp(-limit, limit)
    if rows is not None:
        rows.copy_(cast)
    if columns is not None:
        columns.copy_(cast.t())
