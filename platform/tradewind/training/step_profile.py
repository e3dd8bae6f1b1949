"""Where a step's time goes, from torch's profiler: of one step in many, since looking costs time itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

FIRST, EVERY = 10, 1000
"""Which steps are looked into: the tenth, when everything is warm, and every thousandth."""
KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("communication", ("nccl", "gloo", "c10d::", "all_reduce", "all_gather", "reduce_scatter", "all_to_all")),
    ("attention", ("attention", "flash", "cudnn_generated_fort", "fmha", "flex")),
    ("matrix products", ("gemm", "matmul", "aten::mm", "aten::addmm", "aten::bmm", "_scaled_mm", "nvjet", "cutlass")),
    ("optimizer", ("adam", "muon", "foreach", "multi_tensor")),
)
"""What is in the name of an operation or of a kernel of each kind; the first that fits counts."""
REST = "other"
QUIET = {"KINETO_LOG_LEVEL": "99"}
"""Keeps torch's profiler from writing lines of its own among the log's."""


@dataclass
class StepProfile:
    """Seconds by kind of work, of this process."""

    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def communication_s(self) -> float | None:
        return self.seconds.get("communication", 0.0) if self.seconds else None


def is_due(step: int) -> bool:
    return step == FIRST or step % EVERY == 0


@contextlib.contextmanager
def looking(due: bool) -> Iterator[StepProfile]:
    """Fill the profile with the time of the block; it stays empty when nothing is `due`."""
    found = StepProfile()
    if not due:
        yield found
        return
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        yield found
    found.seconds = _by_kind(profile.key_averages())


def _by_kind(events: Any) -> dict[str, float]:
    """Time of kernels where there are any, else of operations without those that they call."""
    on_chip = [(event.key, event.self_device_time_total) for event in events if event.self_device_time_total]
    times = on_chip or [(event.key, event.self_cpu_time_total) for event in events]
    sums: dict[str, float] = {}
    for name, micros in times:
        kind = kind_of(name)
        sums[kind] = sums.get(kind, 0.0) + micros / 1e6
    return sums


def kind_of(name: str) -> str:
    lower = name.lower()
    return next((kind for kind, words in KINDS if any(word in lower for word in words)), REST)
