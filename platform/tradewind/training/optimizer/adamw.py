"""AdamW whose step clips too: the norm of all gradients in one pass, weights and moments in a second."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from tradewind.training.kernels import adamw_, squares
from tradewind.training.kernels.update import AdamWNumbers
from tradewind.training.precision.working import held_copy, part_here


class AdamW(torch.optim.Optimizer):
    """AdamW (Loshchilov and Hutter 2019) with its states under the names and in the layout of `torch.optim.AdamW`.

    `state_dtype` is that of both moments; None is that of each weight. On a CPU, with moments like weights, the step is
    `torch.optim.AdamW`'s own. Weights and gradients may be DTensors: each rank updates its part.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
        state_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self.state_dtype = state_dtype

    @torch.no_grad()
    def step(  # type: ignore[override]
        self,
        *,
        max_norm: float | None = None,
        stage_ranks: int = 1,
        group: dist.ProcessGroup | None = None,
    ) -> Tensor:
        """Clip to `max_norm` and step. Gives the norm of all gradients before clipping, a scalar on their device.

        `stage_ranks` ranks hold parts of the same weights, and all that train the model are in `group`, None for a
        model on one rank. A norm that is not finite moves nothing, and the caller sees it; the step counts.
        """
        moving = [
            (weight, settings)
            for settings in self.param_groups
            for weight in settings["params"]
            if weight.grad is not None
        ]
        norm = total_norm([weight.grad for weight, _ in moving], stage_ranks, group)
        shrink = torch.ones_like(norm) if max_norm is None else (max_norm / (norm + 1e-6)).clamp(max=1.0)
        shrink = torch.where(torch.isfinite(norm), shrink, torch.nan).float()
        for weight, settings in moving:
            self._move(weight, shrink, settings)
        return norm

    def _move(self, weight: nn.Parameter, shrink: Tensor, group: dict[str, Any]) -> None:
        state = self._state_of(weight)
        numbers = AdamWNumbers(group["lr"], group["betas"], group["eps"], group["weight_decay"], int(state["step"]) + 1)
        assert weight.grad is not None
        held = weight, weight.grad, state["exp_avg"], state["exp_avg_sq"]
        mine, grad, mean, spread = (part_here(one) for one in held)
        state["step"] += 1
        if mine.is_cuda or len({mine.dtype, grad.dtype, mean.dtype}) > 1:
            adamw_(mine, grad, mean, spread, shrink, numbers, held_copy(weight))
        else:
            _move_by_torch(mine, grad, mean, spread, shrink, numbers, state["step"])

    def _state_of(self, weight: nn.Parameter) -> dict[str, Any]:
        state: dict[str, Any] = self.state[weight]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(weight, dtype=self.state_dtype)
            state["exp_avg_sq"] = torch.zeros_like(weight, dtype=self.state_dtype)
        return state


def _move_by_torch(
    weight: Tensor,
    grad: Tensor,
    mean: Tensor,
    spread: Tensor,
    shrink: Tensor,
    numbers: AdamWNumbers,
    step: Tensor,
) -> None:
    """torch's own pass over memory on CPUs, which clips too, and skips what it is told to skip."""
    beta1, beta2 = numbers.betas
    torch._fused_adamw_(
        [weight], [grad], [mean], [spread], [], [step],
        lr=numbers.learning_rate, beta1=beta1, beta2=beta2, weight_decay=numbers.weight_decay, eps=numbers.eps,
        amsgrad=False, maximize=False,
        grad_scale=shrink.reciprocal(), found_inf=(~torch.isfinite(shrink)).float(),
    )  # fmt: skip
    torch.autograd.graph.increment_version(weight)  # which the pass itself does not: copies of it are out of date


def total_norm(grads: list[Tensor], stage_ranks: int = 1, group: dist.ProcessGroup | None = None) -> Tensor:
    """The 2-norm of a gradient that lies in parts on the ranks of `group`, float32.

    A part that several ranks of a stage hold is counted by each with its share, so one sum over all ranks is right for
    weights that are whole, sharded or cut alike.
    """
    total = squares([part_here(grad) for grad in grads], [pieces(grad) / stage_ranks for grad in grads])
    if group is not None:
        dist.all_reduce(total, group=group)
    return total.sqrt()


def pieces(x: Tensor) -> int:
    """Into how many different parts a tensor is cut over ranks."""
    if not isinstance(x, DTensor):
        return 1
    cut = [axis for axis, placement in enumerate(x.placements) if not placement.is_replicate()]
    return math.prod(x.device_mesh.size(axis) for axis in cut)
