"""What this machine is: processor, memory that a program may really use, and what an hour of it costs."""

from __future__ import annotations

import math
import os
import platform
import socket
from pathlib import Path

import psutil

from tradewind.errors import SpecError
from tradewind.records import Machine
from tradewind.storage.transfer.place import this_place

PRICE = "TRADEWIND_USD_PER_HOUR"
CONTROL_GROUP = Path("/sys/fs/cgroup")


def this_machine() -> Machine:
    """Raises SpecError when the price or the place in the environment is not one."""
    return Machine(
        host=socket.gethostname(),
        processor=_processor(),
        num_cpus=usable_cpus(),
        memory_bytes=memory_limit(),
        usd_per_hour=_price(),
        place=this_place(),
    )


def usable_cpus() -> int:
    """Processors that this process may use: those it may run on, or fewer where a container's time is limited."""
    return max(1, min([len(os.sched_getaffinity(0)), *_quota()]))


def _quota() -> list[int]:
    """Whole processors' worth of time that the control group grants, if it states a limit."""
    path = CONTROL_GROUP / "cpu.max"
    words = path.read_text().split() if path.exists() else []
    if len(words) != 2 or not words[0].isdigit():
        return []
    return [math.ceil(int(words[0]) / int(words[1]))]


def memory_limit() -> int:
    """Bytes of memory that programs here may use in all: the machine's, or the container's where that is less."""
    total: int = psutil.virtual_memory().total
    return min([total, *_container("memory.max", "memory/memory.limit_in_bytes")])


def memory_free() -> int:
    """Bytes of memory that can be had now without swapping."""
    available: int = psutil.virtual_memory().available
    limits = _container("memory.max", "memory/memory.limit_in_bytes")
    used = _container("memory.current", "memory/memory.usage_in_bytes")
    rooms = (limit - use + _droppable() for limit, use in zip(limits, used, strict=False))
    return max(0, min([available, *rooms]))


def _droppable() -> int:
    """Bytes of cached files that a container's use counts, and that the kernel gives back when they are wanted."""
    for name, field in (("memory.stat", "inactive_file"), ("memory/memory.stat", "total_inactive_file")):
        path = CONTROL_GROUP / name
        for line in path.read_text().splitlines() if path.exists() else []:
            if line.startswith(f"{field} "):
                return int(line.split()[1])
    return 0


def _container(version_2: str, version_1: str) -> list[int]:
    """A number that the control group states, if it does."""
    for name in (version_2, version_1):
        path = CONTROL_GROUP / name
        if path.exists() and (text := path.read_text().strip()).isdigit():
            return [int(text)]
    return []


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _price() -> float:
    text = os.environ.get(PRICE, "0")
    try:
        price = float(text)
    except ValueError:
        price = -1.0
    if not 0 <= price < math.inf:
        raise SpecError(
            f"{PRICE} is {text!r}", hint="give dollars an hour, like 0.35; without it an own machine costs 0"
        )
    return price
