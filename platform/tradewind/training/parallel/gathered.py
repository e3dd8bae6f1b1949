"""Weights that ranks gather into their places, from copies in the type of the step.

By itself FSDP2 casts each rank's part of a master before every gather, lays parts of a group side by side, and copies
what came out of the group again: 68 ms of kernels, mostly beside others, in a step of 860 for 8B on two H200. Here the
optimizer writes a copy in its own pass, and each weight is gathered from it to where it is read. The copies take two
bytes a parameter of a rank's part.

Tensors that define `fsdp_pre_all_gather` and `fsdp_post_all_gather` say themselves what is gathered:
https://github.com/pytorch/pytorch/blob/v2.11.0/torch/distributed/fsdp/_fully_shard/_fsdp_param.py#L40. What is left
to FSDP2 of such a weight is one number, and when.
"""

from __future__ import annotations

import contextlib
import math
import weakref
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor

from tradewind.training.precision.working import working

SMALLEST = 2**20
"""Weights of a whole tensor. Smaller ones FSDP2 gathers together: for them a collective costs more than copies."""


def gather_in_place(weight: nn.Parameter, compute: torch.dtype) -> None:
    """Let FSDP2 gather a large weight so, that it has sharded and that has memory.

    What does not divide by the ranks is left to FSDP2, which pads it in copies of its own.
    """
    if weight.numel() < SMALLEST or not isinstance(weight, DTensor):
        return
    if weight.device_mesh["shard"].size() == 1 or weight.shape[0] % _cuts(weight):
        return
    part: Any = weight._local_tensor
    gathering = _Gathering(weight, compute)
    part.fsdp_pre_all_gather = gathering.begin
    part.fsdp_post_all_gather = gathering.end


class _Gathering:
    def __init__(self, weight: DTensor, compute: torch.dtype) -> None:
        self._weight = weakref.ref(weight)
        self._compute = compute
        self._stream = torch.cuda.current_stream() if weight.is_cuda else None
        self._whole: Tensor | None = None
        working(weight, compute)  # made here, so that no step waits for its memory

    def begin(
        self,
        mesh: DeviceMesh,
        outer_size: torch.Size,  # noqa: ARG002
        outer_stride: tuple[int, ...],  # noqa: ARG002
        module: nn.Module,  # noqa: ARG002
        policy: MixedPrecisionPolicy,  # noqa: ARG002
    ) -> tuple[tuple[Tensor], None]:
        """Gather, on the stream that FSDP2 does it on, and give it something small to gather as well."""
        weight = self._weight()
        assert weight is not None  # FSDP2 holds it as long as its part
        copy = working(weight, self._compute)
        whole = self._room(copy, mesh.size())
        with _unsafe_preserve_version_counter(whole):  # what a backward pass has kept is there again
            dist.all_gather_into_tensor(whole, copy, group=mesh.get_group())
        return (copy.view(-1)[:1],), None

    def end(
        self,
        gathered: tuple[Tensor, ...],  # noqa: ARG002
        metadata: None,  # noqa: ARG002
        dtype: torch.dtype,  # noqa: ARG002
        *,
        out: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]] | None:
        """The weight, and what FSDP2 frees when it lets go of it. The second time it already lies there."""
        assert self._whole is not None
        return None if out is not None else (self._whole, (self._whole,))

    def _room(self, part: Tensor, parts: int) -> Tensor:
        """Memory of the stream that computes: what it has let go of is written when it has read it, and not before."""
        with torch.cuda.stream(self._stream) if self._stream else contextlib.nullcontext():
            if self._whole is None:
                self._whole = part.new_empty(parts * len(part), *part.shape[1:])
            num_bytes = self._whole.numel() * self._whole.itemsize
            if self._whole.untyped_storage().size() != num_bytes:
                self._whole.untyped_storage().resize_(num_bytes)
        if self._stream:
            torch.cuda.current_stream().wait_stream(self._stream)
        return self._whole


def _cuts(weight: DTensor) -> int:
    """Into how many parts its first dimension is cut."""
    sizes = [
        weight.device_mesh.size(axis)
        for axis, placement in enumerate(weight.placements)
        if not placement.is_replicate() and placement.dim == 0  # type: ignore[attr-defined] # hence a shard
    ]
    return math.prod(sizes)
