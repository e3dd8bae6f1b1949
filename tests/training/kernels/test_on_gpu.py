"""Every Triton kernel against its plain twin, on fresh random inputs of odd sizes too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tradewind.training import kernels
from tradewind.training.kernels.cast import E4M3, E5M2, Scaled
from tradewind.training.kernels.update import AdamWNumbers

pytestmark = pytest.mark.gpu
NUMBERS = AdamWNumbers(1e-2, (0.9, 0.95), 1e-8, 0.1, 3)


def agree(work: Callable[..., Any], *inputs: Tensor, within: float = 1e-4) -> None:
    """`work` gives and leaves the same on the GPU as on the CPU, in bfloat16 all but a few roundings."""
    there, here = [x.cuda() for x in inputs], [x.clone() for x in inputs]
    got, wanted = tensors(work(*there)) + there, tensors(work(*here)) + here
    for a, b in zip(got, wanted, strict=True):
        assert a.dtype == b.dtype
        error = (a.cpu().double() - b.double()).norm() / b.double().norm().clamp(min=1e-20)
        assert error < within, f"{float(error):.1e}"


def tensors(out: Any) -> list[Tensor]:
    return list(out) if isinstance(out, tuple | list) else [] if out is None else [out]


def bf16(*size: int) -> Tensor:
    return torch.randn(*size).bfloat16()


@pytest.mark.parametrize(("rows", "columns"), [(7, 96), (300, 4096), (33, 5120)])
def test_norms(rows: int, columns: int) -> None:
    x, y, grad, weight = bf16(rows, columns), bf16(rows, columns), bf16(rows, columns), bf16(columns)
    agree(lambda x, y, w, t: kernels.add_rms_norm(x, y, w, 1e-5, t), x, y, weight, torch.zeros(()))
    agree(kernels.rms_norm_backward, grad, x, weight, torch.rand(rows) + 0.5, y, torch.zeros(()), within=1e-3)


@pytest.mark.parametrize("dim", [64, 128])
def test_rotary(dim: int) -> None:
    angles = torch.randn(50, dim // 2).repeat(1, 2)
    cos, sin = angles.cos(), angles.sin()
    agree(lambda j, c, s: kernels.turn_(j, c, s, 10), bf16(100, 12 * dim), cos, sin)
    q, k, v = bf16(100, 8, dim), bf16(100, 2, dim), bf16(100, 2, dim)
    agree(kernels.join_turned_back, q, k, v, cos, sin, torch.zeros(()))


@pytest.mark.parametrize("width", [40, 14336])
def test_gating(width: int) -> None:
    agree(kernels.swiglu, bf16(50, 2 * width), torch.zeros(()))
    agree(kernels.swiglu_backward, bf16(50, width), bf16(50, 2 * width), torch.zeros(()), within=1e-3)


@pytest.mark.parametrize("dtype", [E4M3, E5M2])
def test_casts(dtype: torch.dtype) -> None:
    def cast(*parts: Tensor) -> list[Tensor]:
        got = kernels.scaled(parts, kernels.largest(*parts), dtype, rows=True, columns=True)
        assert got.rows is not None
        assert got.columns is not None
        return [got.rows.float(), got.columns.float(), got.scale]

    agree(cast, bf16(144, 208), bf16(48, 208), within=1e-2)  # a factor may round across the middle of two numbers


@pytest.mark.parametrize("dtype", [E4M3, E5M2])
@pytest.mark.parametrize(("rows", "columns"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize(("height", "width"), [(144, 208), (49, 4096), (17, 14336), (5, 28672)])
def test_casts_by_row(dtype: torch.dtype, height: int, width: int, *, rows: bool, columns: bool) -> None:
    def cast(*parts: Tensor) -> Scaled:
        return kernels.scaled_by_row(parts, dtype, rows=rows, columns=columns)

    def values(*parts: Tensor) -> list[Tensor]:
        return [value.float() for value in (cast(*parts).rows, cast(*parts).columns) if value is not None]

    def scales(*parts: Tensor) -> list[Tensor]:
        got = cast(*parts)
        return [got.scale] * rows + [got.columns_scale] * columns

    first, second = bf16(height, width), bf16(48, width)
    first[2] *= 2.0**14
    second[:, 7] *= 2.0**-14
    second[3] = 0.0
    agree(values, first, second, within=2e-2)  # a factor may round across the middle of two numbers
    agree(scales, first, second, within=1e-6)


def test_cross_entropy() -> None:
    targets = torch.randint(0, 128256, (9,))
    targets[2] = -100
    agree(lambda x, t: kernels.cross_entropy_(x, t, 1e-3), bf16(9, 128256), targets, within=1e-3)


@pytest.mark.parametrize("masters", [torch.float32, torch.bfloat16])
def test_updates(masters: torch.dtype) -> None:
    def update(weight: Tensor, grad: Tensor, mean: Tensor, spread: Tensor, shrink: Tensor, copy: Tensor) -> None:
        kernels.adamw_(weight, grad, mean, spread, shrink, NUMBERS, copy)

    held = [torch.randn(70001).to(masters), bf16(70001), torch.randn(70001).to(masters), torch.rand(70001).to(masters)]
    agree(update, *held, torch.tensor(0.5), torch.zeros(70001, dtype=torch.bfloat16))
    agree(lambda a, b: kernels.squares([a, b], [1.0, 0.5]), torch.randn(300001), bf16(5))
    agree(kernels.scale_, bf16(70001), torch.tensor(0.3))


@pytest.mark.parametrize(("parts", "count"), [(1, 5), (2, 100_003), (7, 4096)])
def test_parts_added(parts: int, count: int) -> None:
    agree(lambda parts, out: kernels.add_parts(parts, out), bf16(parts, count), torch.empty(count), within=1e-6)
