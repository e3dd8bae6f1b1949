"""A limit, not a peer: one object after the other, without cache, shuffle, check or thread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers import case, raw
from benchmarks.tokens import BATCH, LENGTH

if TYPE_CHECKING:
    import torch


def load() -> None:
    import obstore  # noqa: F401
    import torch  # noqa: F401


def read(task: case.Task, state: Any) -> case.Reading:
    return case.Reading(_batches())


def _batches() -> Iterator[torch.Tensor]:
    import obstore

    bucket = case.store()
    for key in raw.KEYS:
        tokens = np.frombuffer(memoryview(obstore.get(bucket, key).bytes()), np.uint16).reshape(-1, LENGTH)
        for first in range(0, len(tokens), BATCH):
            yield case.as_int64(tokens[first : first + BATCH])


if __name__ == "__main__":
    case.main(prepare=raw.prepare, load=load, read=read, libraries=("obstore",), extras={})
