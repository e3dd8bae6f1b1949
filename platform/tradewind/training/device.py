"""What this rank computes on, and how fast that could be at best."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

import psutil
import torch
import torch.distributed as dist

from tradewind.catalog import load_catalog
from tradewind.catalog.chip import Precision


def this_device() -> torch.device:
    """The accelerator of this rank, or the processor. The process group says which of the two is meant."""
    if dist.get_backend() != "nccl":
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def memory_used(device: torch.device) -> int:
    """The most bytes that were reserved on the chip, or what is resident on a processor now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    resident: int = psutil.Process().memory_info().rss
    return resident


def peak_flops(device: torch.device, precision: Precision) -> float | None:
    """The chip's dense peak in operations a second, by the catalogue; None where it is not known."""
    if device.type != "cuda":
        return None
    name = chip_of(torch.cuda.get_device_name(device), list(load_catalog().chips))
    return load_catalog().chip(name).flops.get(precision) if name else None


def chip_of(driver_name: str, chips: Sequence[str]) -> str | None:
    """Which chip of the catalogue a driver means, like `H100-SXM` for `NVIDIA H100 80GB HBM3`.

    The first part of the chip's name must be there; of several, the one whose other parts are there most, or the first.
    """
    words = driver_name.upper().replace("-", " ").split()
    words += [one + other for one, other in itertools.pairwise(words)]
    parts = {chip: chip.upper().split("-") for chip in chips}
    fitting = [chip for chip in chips if parts[chip][0] in words]
    return max(fitting, key=lambda chip: _likeness(parts[chip][1:], words), default=None)


def _likeness(parts: Sequence[str], words: Sequence[str]) -> int:
    """Parts that are there, less those that are not."""
    return sum(1 if any(word.startswith(part) for word in words) else -1 for part in parts)
