"""Collectives through which gradients flow, under the names that this version of torch has for them.

torch 2.13 warns of the names of 2.11, and 2.11 does not know those of 2.13.
"""

from __future__ import annotations

from typing import Any, cast

import torch.distributed as dist
import torch.distributed._functional_collectives as functional
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh

Ranks = ProcessGroup | DeviceMesh
"""A group, or a mesh of one axis."""

_functional: Any = functional
_all_gather = getattr(functional, "all_gather_single_autograd", None) or _functional.all_gather_tensor_autograd
_reduce_scatter = (
    getattr(functional, "reduce_scatter_single_autograd", None) or _functional.reduce_scatter_tensor_autograd
)
_all_gather_into: Any = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor


def gather(x: Tensor, dim: int, ranks: Ranks) -> Tensor:
    """The parts of all ranks along `dim`. The gradient of mine is the sum of all ranks' for it."""
    return cast(Tensor, _all_gather(x, dim, ranks))


def reduce_scatter(x: Tensor, dim: int, ranks: Ranks) -> Tensor:
    """My part along `dim` of the sum over ranks. Gradients are gathered."""
    return cast(Tensor, _reduce_scatter(x, "sum", dim, ranks))


def exchange(rows: Tensor, received: list[int], sent: list[int], ranks: Ranks) -> Tensor:
    """Send so many rows to each rank in turn, and receive so many. Gradients travel back."""
    return cast(Tensor, _functional.all_to_all_single_autograd(rows, received, sent, ranks))


def stack(x: Tensor, group: ProcessGroup) -> Tensor:
    """[ranks, ...] of the [...] of each, without gradients."""
    flat = x.new_empty((group.size() * x.shape[0], *x.shape[1:]))
    _all_gather_into(flat, x, group=group)
    return flat.view(group.size(), *x.shape)
