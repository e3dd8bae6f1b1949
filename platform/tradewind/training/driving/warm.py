"""What a worker process does before it is needed: it loads all code that training uses.

Loading takes most of the time in which a run recovers (measured, two workers on two processors, Ray 2.60: 5 of 8.7 s).
"""

from __future__ import annotations

import importlib

MODULES = (
    "ray.train.v2.torch.torch_trainer",
    "ray.train.v2._internal.execution.worker_group",
    "torch.distributed.fsdp",
    "torch.distributed.checkpoint",
    "torch._dynamo",  # the first sharded module and the first optimizer load it
    "torch.nn.utils.parametrize",
    "tradewind.training.worker",
    "tradewind.training.driving.work",
)

HOOK = "tradewind.training.driving.warm.warm"


def warm() -> None:
    """Import everything; open nothing. What runs in a worker before Ray gives it work."""
    for name in MODULES:
        importlib.import_module(name)
