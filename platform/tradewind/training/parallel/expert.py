"""Expert parallelism: each rank holds some routed experts whole, and tokens travel to the experts that they visit.

Lepikhin et al. 2020 (GShard), section 3.2, without a capacity: an all-to-all carries as many rows as the router sends,
so no token is dropped and none is padded. The ranks that share out the experts all have different tokens.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Shard

from tradewind.training.model.experts import RoutedExperts
from tradewind.training.parallel.collectives import exchange
from tradewind.training.parallel.parts import hold


def share_out(decoder: nn.Module, mesh: DeviceMesh) -> None:
    """Leave to each rank of the one axis of `mesh` its part of all routed experts of a decoder, in place."""
    for module in list(decoder.modules()):
        if isinstance(module, RoutedExperts):
            for weight in module._parameters:
                hold(module, weight, mesh, [Shard(0)])
            module.__class__ = type("DistantExperts", (DistantExperts, type(module)), {})
            module.axis = mesh  # type: ignore[assignment] # a mesh is no parameter of the module


class DistantExperts(RoutedExperts):
    """Some of the experts here, the others on the other ranks of `axis`."""

    axis: DeviceMesh

    def forward(self, rows: Tensor, counts: Tensor) -> Tensor:
        """Rows sorted by expert, and how many each has, to the same rows: there and back by two all-to-alls."""
        ranks = self.axis.size()
        sent = counts.to(torch.int64).view(ranks, -1)
        received = torch.empty_like(sent)
        dist.all_to_all_single(received, sent, group=self.axis.get_group())
        there, here = (part.sum(dim=1).tolist() for part in (sent, received))
        arrived = exchange(rows, here, there, self.axis)
        order = _by_expert(received)
        visited = super().forward(arrived[order], received.sum(dim=0))
        back = torch.empty_like(visited).index_copy(0, order, visited)
        return exchange(back, there, here, self.axis)


def _by_expert(received: Tensor) -> Tensor:
    """The order by expert of rows that lie by rank and then by expert. `received` counts them, [ranks, experts]."""
    ranks, experts = received.shape
    expert = torch.arange(experts, device=received.device).repeat(ranks)
    return expert.repeat_interleave(received.flatten()).argsort(stable=True)
