"""What ranks tell each other about a checkpoint, over the host's network and never the chips'."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Self, TypeVar, cast

import torch
import torch.distributed as dist

T = TypeVar("T")


class Group:
    """All ranks of the process group, or this process alone. Every method is called by all ranks, in the same order."""

    def __init__(self, group: dist.ProcessGroup | None, rank: int, world: int) -> None:
        self._group = group
        self.rank = rank
        self.world = world

    @classmethod
    def alone(cls) -> Self:
        return cls(None, 0, 1)

    @classmethod
    def default(cls) -> Self:
        """The group that is there already, for work during which nobody trains."""
        if not dist.is_initialized():
            return cls.alone()
        return cls(None, dist.get_rank(), dist.get_world_size())

    @classmethod
    def new(cls, *, timeout_s: float) -> Self:
        """A gloo group of its own, which can be used by another thread than the one that trains. A collective.

        A rank that is not heard of for `timeout_s`, or that is gone, is a RuntimeError on the others.
        """
        default = cls.default()
        if default.world == 1:
            return default
        group = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout_s))
        return cls(cast("dist.ProcessGroup", group), default.rank, default.world)

    def leave(self) -> None:
        """Close the connections: ranks that wait for this one hear of it. Not a collective."""
        if self._group is not None:
            group, self._group = self._group, None
            dist.destroy_process_group(group)

    def gather(self, value: T) -> list[T] | None:
        """The values of all ranks, on rank 0; None on the others."""
        if self.world == 1:
            return [value]
        found: list[Any] | None = [None] * self.world if self.rank == 0 else None
        dist.gather_object(value, found, dst=0, group=self._group)
        return found

    def scatter(self, values: list[T] | None) -> T:
        """This rank's of the values that rank 0 has."""
        if self.world == 1:
            return cast("list[T]", values)[0]
        mine: list[Any] = [None]
        dist.scatter_object_list(mine, values, src=0, group=self._group)
        return cast("T", mine[0])

    def share(self, value: T | None) -> T:
        """The value of rank 0."""
        if self.world == 1:
            return cast("T", value)
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self._group)
        return cast("T", values[0])

    def first(self, value: T | None) -> T | None:
        """The value of the lowest rank that has one: an error, say, that all shall raise."""
        found = self.gather(value)
        return self.share(next((one for one in found if one is not None), None) if found else None)

    def all(self, flag: bool) -> bool:
        return self._reduced(float(flag), dist.ReduceOp.MIN) > 0

    def largest(self, number: float) -> float:
        return self._reduced(number, dist.ReduceOp.MAX)

    def _reduced(self, number: float, how: Any) -> float:
        if self.world == 1:
            return number
        value = torch.tensor(number, dtype=torch.float64)
        dist.all_reduce(value, op=how, group=self._group)
        return value.item()
