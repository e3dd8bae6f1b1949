"""mosaicml-streaming: MDS shards of 16 MiB, py1e shuffle, one canonical node; no compression, no hashes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import case
from benchmarks.tokens import BATCH, LENGTH


def prepare(task: case.Task) -> None:
    case.upload(task.formats("mds", lambda folder: _write(task, folder)), "mds")


def _write(task: case.Task, folder: Path) -> None:
    from streaming import MDSWriter

    columns = {"tokens": f"ndarray:uint16:{LENGTH}"}
    with MDSWriter(out=str(folder), columns=columns, size_limit=16 << 20, exist_ok=True) as writer:
        for sequence in task.tokens():
            writer.write({"tokens": np.array(sequence)})


def load() -> None:
    os.environ["S3_ENDPOINT_URL"] = os.environ["AWS_ENDPOINT_URL"]
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()  # what the process before left behind would keep this one from starting


def read(task: case.Task, state: Any) -> case.Reading:
    from streaming import StreamingDataLoader, StreamingDataset

    dataset = StreamingDataset(
        remote=f"s3://{case.BUCKET}/mds",
        local=str(task.cache),
        shuffle=True,
        batch_size=BATCH,
        num_canonical_nodes=1,
    )
    loader = StreamingDataLoader(
        dataset,
        batch_size=BATCH,
        num_workers=task.workers,
        collate_fn=lambda rows: case.to_tensor([row["tokens"] for row in rows]),
    )
    if state:
        loader.load_state_dict(state)
    return case.Reading(loader, loader.state_dict)


if __name__ == "__main__":
    case.main(prepare=prepare, load=load, read=read, libraries=("mosaicml-streaming",), extras={})
