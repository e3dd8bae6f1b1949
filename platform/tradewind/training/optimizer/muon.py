"""Muon for the matrices of blocks, AdamW for everything else, as one optimizer with one learning rate.

Jordan et al. 2024 (kellerjordan.github.io/posts/muon), scaled as in Liu et al. 2025 (Muon is scalable for LLM
training), section 2.2: an update of a matrix has 0.2 root mean square, like AdamW's, so rate and decay serve both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from tradewind.training.kernels.norm import wide
from tradewind.training.optimizer.adamw import AdamW

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic whose slope at zero is greatest (Jordan et al. 2024)."""
STEPS = 5
RMS = 0.2


class Muon(AdamW):
    """`named_parameters` that lie in blocks and have rows and columns are moved by Muon; stacked experts one by one.

    Matrices that ranks hold in parts are gathered for the step, one at a time, and every rank makes the same update.
    """

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        state_dtype: torch.dtype | None = None,
    ) -> None:
        named = list(named_parameters)
        matrices = [weight for name, weight in named if is_block_matrix(name, weight)]
        others = [weight for name, weight in named if not is_block_matrix(name, weight)]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "momentum": momentum},
            {"params": others, "momentum": None},
        ]
        super().__init__([group for group in groups if group["params"]], lr, betas, eps, weight_decay, state_dtype)

    def _move(self, weight: nn.Parameter, shrink: Tensor, group: dict[str, Any]) -> None:
        if group["momentum"] is None:
            super()._move(weight, shrink, group)
            return
        state, grad = self.state[weight], weight.grad
        assert grad is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weight, dtype=self.state_dtype)
        moves = torch.isfinite(shrink)
        shrunk = torch.where(moves, wide(grad) * shrink, 0.0)
        buffer = state["momentum_buffer"]
        buffer.copy_(torch.where(moves, torch.lerp(wide(buffer), shrunk, 1 - group["momentum"]), buffer))
        update = orthogonal(whole(torch.lerp(shrunk, wide(buffer), group["momentum"])))
        rate = torch.where(moves, group["lr"], 0.0).to(weight.device)
        weight.mul_(1 - rate * group["weight_decay"])
        weight.sub_(like(update * (rate * RMS * max(update.shape[-2:]) ** 0.5), weight))


def is_block_matrix(name: str, weight: Tensor) -> bool:
    return ".layers." in f".{name}" and weight.dim() >= 2


def orthogonal(x: Tensor) -> Tensor:
    """[..., rows, columns] with all singular values moved near 1 by five steps of Newton and Schulz, in bfloat16."""
    a, b, c = COEFFICIENTS
    tall = x.shape[-2] > x.shape[-1]
    y = (x.mT if tall else x).bfloat16()
    y = y / y.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(STEPS):
        gram = y @ y.mT
        y = a * y + (b * gram + c * gram @ gram) @ y
    made: Tensor = y.mT if tall else y
    return made


def whole(x: Tensor) -> Tensor:
    if not isinstance(x, DTensor):
        return x
    gathered: Tensor = x.full_tensor()
    return gathered


def like(x: Tensor, weight: Tensor) -> Tensor:
    """`x`, which all ranks have alike, laid out as the weight is, in its type."""
    x = x.to(weight.dtype)
    if not isinstance(weight, DTensor):
        return x
    part: DTensor = distribute_tensor(x, weight.device_mesh, weight.placements, src_data_rank=None)
    return part
