"""How a model lies on chips: one axis for each way of splitting it. Their product is the number of chips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Recompute = Literal["none", "selective", "full"]
"""Activation checkpointing: keep everything; keep the results of attention and of every second matrix product, which is
torchtitan's selection by operations; keep the inputs of blocks alone."""

Zero = Literal[1, 2, 3]
"""What the `shard` axis shards: 1 the optimizer's state, 2 gradients too, 3 weights too (ZeRO, Rajbhandari 2020)."""


@dataclass(frozen=True)
class Layout:
    """Axes of a device mesh.

    Data is split over `replicate` × `shard` × `expert`. Weights outside experts are sharded over `shard` × `expert` ×
    `context`; experts are divided among `expert` and their weights sharded over `shard` × `context`.
    """

    replicate: int = 1
    shard: int = 1
    expert: int = 1
    context: int = 1
    tensor: int = 1
    pipeline: int = 1

    @property
    def chips(self) -> int:
        return self.replicate * self.shard * self.expert * self.context * self.tensor * self.pipeline

    @property
    def data(self) -> int:
        """Groups of chips that read different sequences."""
        return self.replicate * self.shard * self.expert

    def __str__(self) -> str:
        """`shard 8 × tensor 2`; `one chip` where nothing is split."""
        named = {
            name: getattr(self, name) for name in ("replicate", "shard", "expert", "context", "tensor", "pipeline")
        }
        return " × ".join(f"{name} {size}" for name, size in named.items() if size > 1) or "one chip"


@dataclass(frozen=True)
class TrainingSetup:
    """One way to train: `layout.data` groups each pass `micro_batches` times `micro_batch` sequences in a step."""

    layout: Layout
    micro_batch: int
    micro_batches: int
    recompute: Recompute = "none"
    zero: Zero = 3

    @property
    def sequences(self) -> int:
        """In a global batch."""
        return self.layout.data * self.micro_batch * self.micro_batches


@dataclass(frozen=True)
class ServingSetup:
    """One way to serve: `layout.replicate` replicas of `layout.chips / layout.replicate` chips each."""

    layout: Layout
    sequences: int
    """In flight in one replica at a time."""
