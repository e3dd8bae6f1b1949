"""A weight of which each rank holds a part: stored as a DTensor, which knows the whole, and read as a plain tensor.

Modules and kernels see only what this rank computes with, as `module.weight`; checkpoints and optimizers see the
DTensor, in `named_parameters()`. FSDP2 shards such a weight further, over its own axes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Placement, distribute_tensor
from torch.distributed.tensor.placement_types import _StridedShard

from tradewind.training.model import Decoder


def hold(module: nn.Module, name: str, mesh: DeviceMesh, placements: Sequence[Placement]) -> None:
    """Keep only this rank's part of a weight of `module`. Every rank has the same whole weight, or a meta one."""
    whole = module._parameters[name]
    if whole is None:  # a bias that the module does not have
        return
    part = distribute_tensor(whole.detach(), mesh, placements, src_data_rank=None)
    module._parameters[name] = nn.Parameter(part, requires_grad=whole.requires_grad)
    kind: Any = type(module)
    module.__class__ = _reading_parts(kind, tuple(module._parameters))


def fill(weight: Tensor, whole: Tensor) -> None:
    """Set a weight, in parts or not, from the whole of it."""
    with torch.no_grad():
        if isinstance(weight, DTensor):
            weight.to_local().copy_(part_of(whole, weight))
        else:
            weight.copy_(whole)


def part_of(whole: Tensor, like: DTensor) -> Tensor:
    """The part of `whole` that this rank holds of `like`. What FSDP2 cuts, it cuts last, out of parts."""
    coordinates = like.device_mesh.get_coordinate()
    assert coordinates is not None
    axes = [axis for axis, placement in enumerate(like.placements) if not placement.is_replicate()]
    for axis in sorted(axes, key=lambda axis: isinstance(like.placements[axis], _StridedShard)):
        dim = like.placements[axis].dim  # type: ignore[attr-defined] # not replicated, hence a shard
        parts = whole.chunk(like.device_mesh.size(axis), dim)
        whole = parts[coordinates[axis]] if coordinates[axis] < len(parts) else whole.narrow(dim, 0, 0)
    return whole


def local(weight: DTensor) -> Tensor:
    """What this rank computes with. The gradient of a weight that is not cut is a part of a sum over the group."""
    return weight.to_local(
        grad_placements=[Partial() if placement.is_replicate() else placement for placement in weight.placements]
    )


def sum_partial(gradient_of: Tensor) -> None:
    """Add the parts of a weight's gradient over the group; for weights that FSDP2 does not do it for."""
    gradient = gradient_of.grad
    if isinstance(gradient, DTensor) and isinstance(gradient_of, DTensor):
        gradient_of.grad = gradient.redistribute(placements=gradient_of.placements)


def tie(decoder: Decoder) -> None:
    """Make the output the embedding again, where the shape ties them and making weights anew has parted them."""
    if decoder.shape.tied and decoder.lm_head is not None and decoder.model.embed_tokens is not None:
        decoder.lm_head._parameters["weight"] = decoder.model.embed_tokens._parameters["weight"]


@functools.cache
def _reading_parts(kind: type[nn.Module], names: tuple[str, ...]) -> type[nn.Module]:
    """`kind` with its weights behind properties, as in torchtitan's simple_fsdp: what torch.compile can follow."""
    if getattr(kind, "_reads_parts", False):
        return kind
    readers = {name: property(functools.partial(_read, name=name)) for name in names}
    return type(kind.__name__, (kind,), {**readers, "_reads_parts": True, "__module__": kind.__module__})


def _read(module: nn.Module, *, name: str) -> Tensor | None:
    """Weights are held on one axis. One of several axes is FSDP2's, between passes, and of no use to the module."""
    weight = module._parameters[name]
    if isinstance(weight, DTensor) and weight.device_mesh.ndim == 1:
        return local(weight)
    return weight
