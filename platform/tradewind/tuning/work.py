"""What is done with a trial's job."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Work:
    """A function of a job, by name, and the modules to have loaded before it is called."""

    function: str
    modules: tuple[str, ...]
    groups: bool = True
    """Whether it needs a process group."""

    def load(self) -> Callable[[Any], None]:
        for name in self.modules:
            importlib.import_module(name)
        module, name = self.function.split(":")
        found: Callable[[Any], None] = getattr(importlib.import_module(module), name)
        return found


TRAIN = Work(
    "tradewind.training.worker:train",
    modules=(
        "torch.distributed.checkpoint",
        "torch._dynamo",  # the first optimizer loads it
        "tradewind.training.worker",
        "tradewind.training.logs",
    ),
)
