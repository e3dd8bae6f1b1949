"""Float8 with one scale a tensor: the largest |value| meets the largest number of the format.

Micikevicius et al. 2022 (FP8 formats for deep learning), sections 3 and 4: e4m3 for weights and activations, e5m2 for
gradients. The scale is that of the tensor at hand, never a guess from earlier steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tradewind.training.kernels.norm import note

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
SMALLEST = 1e-12
"""Least |value| that a scale is made for: a tensor of zeros keeps a finite scale."""


@dataclass(frozen=True)
class Scaled:
    """A matrix in float8: `rows` x `scale` is its value. `columns` is its transpose, in memory too."""

    rows: Tensor | None
    columns: Tensor | None
    scale: Tensor


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
    return Scaled(by_rows, by_columns, scale)


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


def scaled_rows(x: Tensor, top: Tensor, dtype: torch.dtype = E4M3) -> Scaled:
    return scaled((x,), top, dtype, rows=True, columns=False)


def scaled_transpose(x: Tensor, top: Tensor, dtype: torch.dtype = E4M3) -> Scaled:
    return scaled((x,), top, dtype, rows=False, columns=True)
