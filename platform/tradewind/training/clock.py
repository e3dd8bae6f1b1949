"""Time, losses and wishes of all ranks, put together once a step, so that all ranks take the same decisions."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.distributed as dist

from tradewind.datasets.reading.order import Words


@dataclass
class Progress:
    """Where the run is. The numbers are equal on all ranks."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    data_seconds: float = 0.0
    loss: float = float("nan")
    attempt: str = field(default_factory=lambda: uuid.uuid4().hex[:8])


@dataclass(frozen=True)
class Said:
    """What a rank brings to the step's agreement."""

    loss: float
    """Its part of the global batch's loss; the parts add up."""
    digest: Words
    """Of the samples that it has read; zeros from a rank whose samples another one has read too."""
    wishes: tuple[float, ...] = ()
    """Numbers that are added up, like how many ranks want to stop."""


@dataclass(frozen=True)
class Agreed:
    step_s: float
    digest: Words
    wishes: tuple[float, ...]


class Clock:
    """Time of this attempt added to what the run had used before, agreed on by the ranks of a group of the host."""

    def __init__(self, progress: Progress, group: dist.ProcessGroup | None = None) -> None:
        self._group = group
        self._wall = time.monotonic() - progress.seconds
        self._cpu = time.process_time()
        self._cpu_before = progress.cpu_seconds
        self._waited = 0.0
        self.stopped_s = 0.0
        """Left out so far."""

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Measure the block as time spent waiting for data."""
        began = time.monotonic()
        yield
        self._waited = time.monotonic() - began

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Leave the block's time out: evaluating and saving is not training."""
        began = time.monotonic()
        yield
        took_s = time.monotonic() - began
        self._wall += took_s
        self.stopped_s += took_s

    def agree(self, progress: Progress, said: Said) -> Agreed:
        """Set times and loss of the step just made, in one small collective."""
        times = (time.monotonic() - self._wall, time.process_time() - self._cpu, self._waited)
        halves = split_words(said.digest)
        summed = torch.tensor([*times, said.loss, *halves, *said.wishes], dtype=torch.float64)
        dist.all_reduce(summed, group=self._group)
        seconds, cpu_seconds, waited, loss, *rest = summed.tolist()
        world = dist.get_world_size(self._group)
        step_s = max(1e-9, seconds / world - progress.seconds)
        progress.seconds = seconds / world
        progress.cpu_seconds = self._cpu_before + cpu_seconds
        progress.data_seconds = waited / world
        progress.loss = loss
        return Agreed(step_s, join_words(rest[: len(halves)]), tuple(rest[len(halves) :]))


def split_words(words: Words) -> list[float]:
    """Words of 64 bits as twice as many numbers of 32, whose sums over up to 2²¹ ranks float64 holds exactly."""
    return [float(part) for word in words.tolist() for part in (word >> 32, word & 0xFFFFFFFF)]


def join_words(parts: list[float]) -> Words:
    """The words of summed halves, modulo 2⁶⁴."""
    words = [
        (int(high) << 32) + int(low) & 0xFFFFFFFFFFFFFFFF for high, low in zip(parts[::2], parts[1::2], strict=True)
    ]
    return np.array(words, dtype=np.uint64)
