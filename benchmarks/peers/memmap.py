"""A limit, not a peer: all tokens in one file of this machine's disk, read through a permutation in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers import case
from benchmarks.tokens import BATCH, SEQUENCES

if TYPE_CHECKING:
    import torch


def prepare(task: case.Task) -> None:
    task.tokens()


def load() -> None:
    import torch  # noqa: F401


def read(task: case.Task, state: Any) -> case.Reading:
    return case.Reading(_batches(task))


def _batches(task: case.Task) -> Iterator[torch.Tensor]:

    tokens, order = task.tokens(), np.random.default_rng(0).permutation(SEQUENCES)
    for first in range(0, SEQUENCES, BATCH):
        yield case.as_int64(tokens[order[first : first + BATCH]])


if __name__ == "__main__":
    case.main(prepare=prepare, load=load, read=read, libraries=("numpy",), extras={})
