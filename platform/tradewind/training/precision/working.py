"""Weights in the type that a step computes in, beside masters of another type."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

_HELD = "_working_copy"
Version = tuple[int, ...]


def working(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight in `dtype`: itself, or a copy that is held, and made again after the weight was changed in place.

    Of a weight in parts it is this rank's. The copy stays where it is in memory. An optimizer that writes it in its
    own pass finds it by `held_copy`.
    """
    mine = part_here(weight)
    if mine.dtype == dtype:
        return mine
    held: tuple[Version, Tensor] | None = getattr(weight, _HELD, None)
    if held is not None and held[0] == _version(weight) and held[1].dtype == dtype:
        return held[1]
    fits = held is not None and held[1].dtype == dtype and held[1].device == mine.device
    copy = held[1] if held is not None and fits else torch.empty_like(mine, dtype=dtype, requires_grad=False)
    with torch.no_grad():
        copy.copy_(mine)
    setattr(weight, _HELD, (_version(weight), copy))
    return copy


def held_copy(weight: Tensor) -> Tensor | None:
    """The copy that `working` holds of a weight, where it holds one that is up to date."""
    held: tuple[Version, Tensor] | None = getattr(weight, _HELD, None)
    return held[1] if held is not None and held[0] == _version(weight) else None


def part_here(x: Tensor) -> Tensor:
    """This rank's part of a DTensor, or any other tensor, without gradients. `working` sees what is done to it."""
    with torch.no_grad():
        return (x.to_local() if isinstance(x, DTensor) else x).detach()


def join_rows(*weights: nn.Parameter) -> None:
    """Lay weights one behind the other in memory, so that one product serves them all; their names stay."""
    whole = torch.cat([weight.detach() for weight in weights])
    for weight, part in zip(weights, torch.split(whole, [len(weight) for weight in weights]), strict=True):
        weight.data = part


def _version(weight: Tensor) -> Version:
    """What changes when a weight does: of one in parts, what is done to the whole and what is done to the part."""
    return (weight._version, weight._local_tensor._version) if isinstance(weight, DTensor) else (weight._version,)
