"""Gradients that ranks of one host add up: sent in the type that they have, added in the wider one.

A reduction in float32 casts bfloat16 gradients before it sends them, twice the bytes, and needs the same float32 sums
in the end. Ranks that send each other their parts and add what came give the same sums, for half the traffic.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.fsdp._fully_shard._fsdp_api import ReduceScatter

from tradewind.training.kernels import add_parts


def exchange_gradients(module: FSDPModule, sent: torch.dtype, ranks: Sequence[int], hosts: Sequence[str]) -> None:
    """Let FSDP2 reduce the gradients of a module so, where its `ranks` are on one of `hosts`.

    Between hosts a ring needs fewer messages. For modules whose gradients are reduced in every pass: what was added up
    before is float32 already.
    """
    if len({hosts[rank] for rank in ranks}) == 1:
        module.set_custom_reduce_scatter(Exchange(sent))


def hosts_of_ranks() -> list[str]:
    """The name of each rank's host, told by all, so that all decide alike what follows from it. A collective."""
    hosts = [""] * dist.get_world_size()
    dist.all_gather_object(hosts, socket.gethostname())
    return hosts


class Exchange(ReduceScatter):
    """What FSDP2 asks of a reduce-scatter: room for the whole gradient and for this rank's part, and the sum."""

    def __init__(self, sent: torch.dtype) -> None:
        self._sent = sent
        self._next_is_whole = True

    def allocate(self, size: Sequence[int | torch.SymInt], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """FSDP2 asks for both in turn: the whole gradient is then laid out in it, the part is what it reads."""
        whole, self._next_is_whole = self._next_is_whole, not self._next_is_whole
        return torch.empty(*size, dtype=self._sent if whole else dtype, device=device)

    def __call__(
        self,
        output_tensor: Tensor,
        input_tensor: Tensor,
        group: dist.ProcessGroup,
        op: object,
        async_op: bool = False,
    ) -> None:
        """Sum the parts for this rank of all ranks' `input_tensor`. Raises ValueError for another `op` than a sum."""
        if op != dist.ReduceOp.SUM or async_op:
            raise ValueError(f"an exchange gives sums, at once: not {op}")
        came = torch.empty_like(input_tensor)
        dist.all_to_all_single(came, input_tensor, group=group)
        add_parts(came.view(group.size(), -1), output_tensor)
