"""Which part of a parameter this rank holds."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor


@torch.no_grad()
def local_part(weight: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """The tensor of this rank, and where it begins in the whole, by dimension. A plain tensor is its own whole."""
    if not isinstance(weight, DTensor):
        return weight.detach(), (0,) * weight.dim()
    coordinate = weight.device_mesh.get_coordinate()
    assert coordinate is not None
    local = weight.to_local()
    begins, sizes = [0] * weight.dim(), list(weight.shape)
    for axis in _cuts_in_order(weight):
        dim = weight.placements[axis].dim  # type: ignore[attr-defined] # a cut has one
        size = -(-sizes[dim] // weight.device_mesh.size(axis))
        first = min(coordinate[axis] * size, sizes[dim])
        begins[dim], sizes[dim] = begins[dim] + first, min(size, sizes[dim] - first)
    assert tuple(sizes) == tuple(local.shape), (
        f"{sizes} of {list(weight.shape)} worked out, and {list(local.shape)} held"
    )
    return local, tuple(begins)


def whole_tensor(weight: Tensor) -> Tensor:
    """The whole on each rank: a collective for a sharded tensor."""
    return weight.full_tensor() if isinstance(weight, DTensor) else weight.detach()


def _cuts_in_order(weight: DTensor) -> list[int]:
    """Axes of the mesh in the order in which they cut: strided ones, which FSDP2 makes of what was cut, come last."""
    cuts = [axis for axis, placement in enumerate(weight.placements) if hasattr(placement, "dim")]
    strided = [axis for axis in cuts if hasattr(weight.placements[axis], "split_factor")]
    return [axis for axis in cuts if axis not in strided] + strided[::-1]
