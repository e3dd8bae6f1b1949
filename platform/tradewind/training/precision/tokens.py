"""Where the tokens of a block are: all here, or cut over ranks that compute with parts of each matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed._functional_collectives import AsyncCollectiveTensor


class Tokens(Protocol):
    """Matrices have a row for each token, sequence after sequence."""

    def gather(self, mine: Tensor, sequences: int) -> Tensor:
        """The rows of all ranks, from those of each."""

    def scatter(self, parts: Tensor, sequences: int) -> Tensor:
        """My rows of the sum over ranks, from a part of the sum of all rows on each."""

    def agree(self, top: Tensor | None) -> Tensor | None:
        """The largest over ranks of a scalar about my rows."""


@dataclass(frozen=True)
class Whole:
    def gather(self, mine: Tensor, sequences: int) -> Tensor:  # noqa: ARG002
        return mine

    def scatter(self, parts: Tensor, sequences: int) -> Tensor:  # noqa: ARG002
        return parts

    def agree(self, top: Tensor | None) -> Tensor | None:
        return top


@dataclass(frozen=True)
class Cut:
    """Consecutive equal parts of each sequence on the ranks of a group: Korthikanti et al. 2022, section 4.2."""

    group: dist.ProcessGroup

    def gather(self, mine: Tensor, sequences: int) -> Tensor:
        ranks = self.group.size()
        out = torch.empty(ranks * len(mine), mine.shape[1], dtype=mine.dtype, device=mine.device)
        dist.all_gather_into_tensor(out, mine.contiguous(), group=self.group)
        return _turned(out, ranks, sequences)

    def scatter(self, parts: Tensor, sequences: int) -> Tensor:
        ranks = self.group.size()
        mine = torch.empty(len(parts) // ranks, parts.shape[1], dtype=parts.dtype, device=parts.device)
        dist.reduce_scatter_tensor(mine, _turned(parts, sequences, ranks).contiguous(), group=self.group)
        return mine

    def agree(self, top: Tensor | None) -> Tensor | None:
        if top is not None:
            dist.all_reduce(top, dist.ReduceOp.MAX, group=self.group)
        return top


def arrived(x: Tensor) -> Tensor:
    """A contiguous tensor with memory of its own, waited for where a collective still writes it.

    Functional collectives give a wrapper that waits when torch reads it. A kernel that is handed its address would not.
    """
    if isinstance(x, AsyncCollectiveTensor):
        x = x.trigger_wait()  # type: ignore[no-untyped-call]
    return x.contiguous()


def _turned(x: Tensor, outer: int, inner: int) -> Tensor:
    """Rows counted [outer, inner, rest] as rows counted [inner, outer, rest]."""
    if inner == 1 or outer == 1:
        return x
    return x.view(outer, inner, -1, x.shape[1]).transpose(0, 1).reshape(x.shape)
