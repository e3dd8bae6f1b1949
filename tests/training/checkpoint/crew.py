"""A little model on a mesh, trained by some ranks, for tests of its checkpoints."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from tradewind.records import CheckpointRecord
from tradewind.storage import Store
from tradewind.training.checkpoint import TrainingState
from tradewind.training.run import RunFiles

RUN = "first"
Mesh = dict[Literal["replicate", "shard", "tensor"], int]


class Net(nn.Module):
    """Tied, with a buffer, and with a width that two and four ranks cannot share evenly."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.up = nn.Linear(6, 8)
        self.down = nn.Linear(8, 6, bias=False)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("bias", torch.arange(11.0))

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.embed(tokens)
        logits: Tensor = self.head(hidden + self.down(torch.relu(self.up(hidden)))) + self.bias
        return logits


class Crew:
    """What one rank trains. The same data for all, so that every mesh computes the same."""

    def __init__(self, mesh: Mesh, optimizer: str = "adamw") -> None:
        torch.manual_seed(7)
        self.model = Net()
        devices = init_device_mesh("cpu", tuple(mesh.values()), mesh_dim_names=tuple(mesh)) if mesh else None
        if devices and "tensor" in mesh:
            plan: Any = {"up": ColwiseParallel(), "down": RowwiseParallel()}
            parallelize_module(self.model, devices["tensor"], plan)
        if devices and (axes := tuple(name for name in mesh if name != "tensor")):
            fully_shard(self.model, mesh=devices[axes])
        self.optimizers = [
            _optimizer(optimizer, [one for one in self.model.parameters() if one.dim() == 2]),
            torch.optim.AdamW([one for one in self.model.parameters() if one.dim() != 2], lr=0.01),
        ]
        self.state = TrainingState([self.model], self.optimizers, data_rank=dist.get_rank() if mesh else 0)
        self.steps = 0

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self.steps += 1
            tokens = torch.arange(12).reshape(3, 4) * self.steps % 11
            loss = nn.functional.cross_entropy(self.model(tokens).flatten(0, 1), (tokens.flatten() + 1) % 11)
            loss.backward()  # type: ignore[no-untyped-call]
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad()

    def numbers(self) -> dict[str, Tensor]:
        """Every weight and every memory of an optimizer, whole."""
        flat = self.state.to_save()
        found = {name: whole(value) for name, value in flat["model"].items()}
        for name, values in flat["optimizer"]["state"].items():
            found |= {f"{name}/{what}": whole(value) for what, value in values.items()}
        return found


def whole(value: Any) -> Tensor:
    full: Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
    return full.detach().clone()


def record(step: int, **changes: Any) -> CheckpointRecord:
    values: dict[str, Any] = {"tokens": step * 10, "seconds": 1, "cpu_seconds": 1, "loss": 1, "files": ()}
    return CheckpointRecord(run=RUN, step=step, **(values | changes))


def run_files(store: Store) -> RunFiles:
    return RunFiles(store, RUN)


def _optimizer(kind: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    if kind == "muon":
        return torch.optim.Muon(parameters, lr=0.01)
    return torch.optim.AdamW(parameters, lr=0.01, fused=kind == "fused")
