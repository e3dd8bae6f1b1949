"""The optimizer's passes over memory: one that sums squares of gradients, one that moves weights and moments."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tradewind.training.kernels.norm import wide


@dataclass(frozen=True)
class AdamWNumbers:
    """What one AdamW step needs beside tensors (Loshchilov and Hutter 2019, algorithm 2). `step` counts from 1."""

    learning_rate: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    step: int

    @property
    def corrections(self) -> tuple[float, float]:
        return 1 - self.betas[0] ** self.step, 1 - self.betas[1] ** self.step


def squares(grads: list[Tensor], shares: list[float]) -> Tensor:
    """The sum of squares of all gradients, each times its share; a float32 scalar, of the same bits every time."""
    if grads and grads[0].is_cuda:
        from tradewind.training.kernels.on_gpu import update as on_gpu

        return on_gpu.squares(grads, shares)
    return torch.stack([wide(grad).square().sum() * share for grad, share in zip(grads, shares, strict=True)]).sum()


def add_parts(parts: Tensor, out: Tensor) -> Tensor:
    """[parts, n] added up to `out` [n], each in float32 and from the first on."""
    if parts.is_cuda:
        from tradewind.training.kernels.on_gpu import update as on_gpu

        on_gpu.add_parts(parts, out)
        return out
    return out.copy_(wide(parts).sum(dim=0))


def scale_(x: Tensor, factor: Tensor) -> Tensor:
    """`x` times a scalar tensor, in place and in float32: the factor is not rounded to the type of `x`."""
    if x.is_cuda:
        from tradewind.training.kernels.on_gpu import update as on_gpu

        on_gpu.scale_(x, factor)
        return x
    return x.copy_(wide(x) * factor)


def adamw_(
    weight: Tensor,
    grad: Tensor,
    mean: Tensor,
    spread: Tensor,
    shrink: Tensor,
    numbers: AdamWNumbers,
    copy: Tensor | None = None,
) -> None:
    """Move `weight` and its moments in place by `grad` x `shrink`; nothing moves where `shrink` is not finite.

    `copy` is a second holder of the weight, in another format, that is written in the same pass.
    """
    if weight.is_cuda:
        from tradewind.training.kernels.on_gpu import update as on_gpu

        on_gpu.adamw_(weight, grad, mean, spread, shrink, numbers, copy)
        return
    if not torch.isfinite(shrink):
        return
    beta1, beta2 = numbers.betas
    first, second = numbers.corrections
    shrunk = wide(grad) * shrink
    new_mean = wide(mean) + (shrunk - wide(mean)) * (1 - beta1)
    new_spread = wide(spread) * beta2 + shrunk * shrunk * (1 - beta2)
    moved = wide(weight) * (1 - numbers.learning_rate * numbers.weight_decay)
    moved -= numbers.learning_rate / first * new_mean / (new_spread.sqrt() / second**0.5 + numbers.eps)
    for held, value in ((weight, moved), (mean, new_mean), (spread, new_spread)):
        held.copy_(value)
    if copy is not None:
        copy.copy_(weight)
