"""RMSNorm (Zhang and Sennrich 2019, equation 4), alone or after a residual addition, and its gradient."""

from __future__ import annotations

import torch
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float, largest: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(`x` normed by row, 1 / root mean square of each row in float32). `largest` grows to the largest |normed|."""
    if x.is_cuda:
        from tradewind.training.kernels.on_gpu import norm as on_gpu

        _, normed, inverse = on_gpu.add_rms_norm(x, None, weight, eps, largest)
        return normed, inverse
    inverse = torch.rsqrt(wide(x).square().mean(-1) + eps)
    normed = (wide(x) * inverse[:, None] * wide(weight)).to(x.dtype)
    note(largest, normed)
    return normed, inverse


def add_rms_norm(
    x: Tensor, y: Tensor, weight: Tensor, eps: float, largest: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """(x + y, that normed, its inverse root mean squares)."""
    if x.is_cuda:
        from tradewind.training.kernels.on_gpu import norm as on_gpu

        return on_gpu.add_rms_norm(x, y, weight, eps, largest)
    total = x + y
    return total, *rms_norm(total, weight, eps, largest)


def rms_norm_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    inverse: Tensor,
    beside: Tensor | None = None,
    largest: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """gradients of `rms_norm` by its input and its weight; `beside`, what reached `x` around it, is added."""
    if x.is_cuda:
        from tradewind.training.kernels.on_gpu import norm as on_gpu

        return on_gpu.rms_norm_backward(grad, x, weight, inverse, beside, largest)
    unit, weighted = wide(x) * inverse[:, None], wide(grad) * wide(weight)
    by_x = inverse[:, None] * (weighted - unit * (weighted * unit).mean(-1, keepdim=True))
    if beside is not None:
        by_x = by_x + beside
    by_x = by_x.to(x.dtype)
    note(largest, by_x)
    return by_x, (wide(grad) * unit).sum(0).to(weight.dtype)


def wide(x: Tensor) -> Tensor:
    """In float32, or float64 where it is that already."""
    return x if x.dtype == torch.float64 else x.float()


def note(largest: Tensor | None, x: Tensor) -> None:
    """Raise `largest`, a float32 scalar, to the largest |x|."""
    if largest is not None:
        torch.maximum(largest, x.abs().amax().float(), out=largest)
