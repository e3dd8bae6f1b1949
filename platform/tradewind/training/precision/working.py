"""Weights in the type that a step computes in, beside masters of another type."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_HELD = "_working_copy"


def working(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight in `dtype`: itself, or a copy that is held, and made again after the weight was changed in place.

    The copy stays where it is in memory. An optimizer that writes it in its own pass finds it by `held_copy`.
    """
    if weight.dtype == dtype:
        return weight.detach()
    held: tuple[int, Tensor] | None = getattr(weight, _HELD, None)
    if held is not None and held[0] == weight._version and held[1].dtype == dtype:
        return held[1]
    fits = held is not None and held[1].dtype == dtype and held[1].device == weight.device
    copy = held[1] if held is not None and fits else torch.empty_like(weight, dtype=dtype, requires_grad=False)
    with torch.no_grad():
        copy.copy_(weight)
    setattr(weight, _HELD, (weight._version, copy))
    return copy


def held_copy(weight: Tensor) -> Tensor | None:
    """The copy that `working` holds of a weight, where it holds one that is up to date."""
    held: tuple[int, Tensor] | None = getattr(weight, _HELD, None)
    return held[1] if held is not None and held[0] == weight._version else None


def join_rows(*weights: nn.Parameter) -> None:
    """Lay weights one behind the other in memory, so that one product serves them all; their names stay."""
    whole = torch.cat([weight.detach() for weight in weights])
    for weight, part in zip(weights, torch.split(whole, [len(weight) for weight in weights]), strict=True):
        weight.data = part
