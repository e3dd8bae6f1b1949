"""The norm of a gradient that lies in parts on all ranks, and its clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from tradewind.training.parallel.layout import Layout


def clip(parameters: Iterable[Tensor], max_norm: float, layout: Layout) -> Tensor:
    """Scale gradients so that their norm over all parameters of all ranks is at most `max_norm`. Gives the norm before.

    Right under every layout. One collective of one number over all ranks; the norm stays on the device.
    """
    gradients = [weight.grad for weight in parameters if weight.grad is not None]
    norm = total_norm(gradients, layout)
    parts = _parts(gradients)
    if parts:
        torch._foreach_mul_(parts, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


def total_norm(gradients: Sequence[Tensor], layout: Layout) -> Tensor:
    """The 2-norm of the gradient of which this rank holds parts, float32.

    A part that lies on several ranks of a stage is counted by each with its share, so one sum over all ranks is right
    for weights that are whole, sharded, cut, or experts' alike.
    """
    total = torch.zeros((), device=gradients[0].device if gradients else None)
    if gradients:
        norms = torch.stack(cast("list[Tensor]", torch._foreach_norm(_parts(gradients), 2.0, dtype=torch.float32)))
        ranks = layout.world // layout.pipeline
        shares = torch.tensor([_pieces(gradient) / ranks for gradient in gradients])
        total = (norms.square() * shares.to(norms.device, non_blocking=True)).sum()
    if layout.world > 1:
        dist.all_reduce(total)
    return total.sqrt()


def _parts(gradients: Sequence[Tensor]) -> list[Tensor]:
    return [gradient.to_local() if isinstance(gradient, DTensor) else gradient for gradient in gradients]


def _pieces(gradient: Tensor) -> int:
    """Into how many different parts it is cut."""
    if not isinstance(gradient, DTensor):
        return 1
    cut = [axis for axis, placement in enumerate(gradient.placements) if not placement.is_replicate()]
    return math.prod(gradient.device_mesh.size(axis) for axis in cut)
