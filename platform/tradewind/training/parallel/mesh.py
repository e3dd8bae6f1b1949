"""The process groups of a layout: which ranks speak with each other along each axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from tradewind.errors import SpecError
from tradewind.training.parallel.layout import Layout


@dataclass(frozen=True, eq=False)
class Mesh:
    """A layout on the ranks of the default process group. Every rank makes it, at the same moment."""

    layout: Layout
    device: torch.device
    place: int
    """Where this rank stands in the layout: its rank."""
    weights: DeviceMesh
    """pipeline × replicate × shard × tensor, where `shard` holds shard × context: both see different tokens."""
    experts: DeviceMesh
    """pipeline × replicate × shard × expert of the same ranks, where `expert` holds expert × tensor."""
    context_group: dist.ProcessGroup | None
    """Ranks that hold parts of the same sequences; None where sequences are whole."""
    stage_group: dist.ProcessGroup | None
    """Ranks that run the same layers, on other tokens or with other parts of them; None for all ranks."""

    @classmethod
    def of(cls, layout: Layout, device: torch.device) -> Mesh:
        """The groups of `layout`. Needs the default process group.

        Raises SpecError where the layout is not of as many ranks as the group has.
        """
        world = dist.get_world_size()
        if layout.world != world:
            raise SpecError(
                f"a layout of {layout.world} ranks ({layout}) on {world}", hint="make it with Layout.of(world)"
            )
        ranks = torch.arange(world)
        axes = (layout.pipeline, layout.replicate, layout.shard * layout.context, layout.tensor)
        names = ("pipeline", "replicate", "shard", "tensor")
        weights = DeviceMesh(device.type, ranks.view(axes), mesh_dim_names=names)
        grid = ranks.view(layout.pipeline, layout.data_world, layout.context, layout.tensor)
        return cls(
            layout=layout,
            device=device,
            place=dist.get_rank(),
            weights=weights,
            experts=_experts(layout, device, ranks),
            context_group=_group(grid.movedim(2, -1), layout.context) if layout.context > 1 else None,
            stage_group=_group(ranks, world // layout.pipeline) if layout.pipeline > 1 else None,
        )

    @property
    def data_rank(self) -> int:
        """Which part of a global batch this rank reads, of `layout.data_world`."""
        return self.layout.data_rank(self.place)

    @property
    def data_world(self) -> int:
        return self.layout.data_world

    @property
    def context_rank(self) -> int:
        """Which parts of each sequence this rank holds."""
        return self.place // self.layout.tensor % self.layout.context

    @property
    def pipeline_rank(self) -> int:
        return self.place * self.layout.pipeline // self.layout.world

    @property
    def is_last_stage(self) -> bool:
        """Whether losses are computed here."""
        return self.pipeline_rank == self.layout.pipeline - 1

    @property
    def counts_losses(self) -> bool:
        """Whether its losses are a part of the global batch's: of ranks that share matrices, all give the same ones."""
        return self.place % self.layout.tensor == 0

    def data(self, mesh: DeviceMesh) -> DeviceMesh:
        """The axes of `weights` or `experts` over which weights are sharded and gradients summed, for FSDP2."""
        return mesh["replicate", "shard"] if self.layout.replicate > 1 else mesh["shard"]


def _experts(layout: Layout, device: torch.device, ranks: torch.Tensor) -> DeviceMesh:
    shard = layout.shard * layout.context // layout.expert
    axes = (layout.pipeline, layout.replicate, shard, layout.expert_ranks)
    return DeviceMesh(device.type, ranks.view(axes), mesh_dim_names=("pipeline", "replicate", "shard", "expert"))


def _group(ranks: torch.Tensor, size: int) -> dist.ProcessGroup:
    groups: Any = dist.new_subgroups_by_enumeration(ranks.reshape(-1, size).tolist())  # type: ignore[no-untyped-call]
    return cast(dist.ProcessGroup, groups[0])
