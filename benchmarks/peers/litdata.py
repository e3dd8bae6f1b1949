"""litdata: chunks of raw tokens for its TokensLoader, 4096 sequences each, shuffled, cached on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers import case
from benchmarks.tokens import BATCH, LENGTH, PER_SHARD, SEQUENCES

if TYPE_CHECKING:
    import torch

PREFIX = "litdata"
PIECE = 512


def prepare(task: case.Task) -> None:
    case.upload(task.formats(PREFIX, lambda folder: _write(task, folder)), PREFIX)


def _write(task: case.Task, folder: Path) -> None:
    import litdata

    litdata.optimize(
        fn=partial(_piece, task),
        inputs=list(range(SEQUENCES // PIECE)),
        output_dir=str(folder),
        num_workers=1,
        chunk_size=PER_SHARD * LENGTH,
        item_loader=litdata.TokensLoader(),
        optimize_dns=False,
        mode="overwrite",
    )


def _piece(task: case.Task, number: int) -> Iterator[torch.Tensor]:
    import torch

    yield torch.from_numpy(np.array(task.tokens()[number * PIECE : (number + 1) * PIECE]).reshape(-1))


def load() -> None:
    import litdata  # noqa: F401
    from litdata.streaming import downloader

    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True  # 0.2.76 otherwise refuses endpoints without TLS


def read(task: case.Task, state: Any) -> case.Reading:
    import litdata

    dataset = litdata.StreamingDataset(
        f"s3://{case.BUCKET}/{PREFIX}",
        item_loader=litdata.TokensLoader(block_size=LENGTH),
        shuffle=True,
        drop_last=False,
        cache_dir=str(task.cache),
        storage_options={
            "endpoint_url": os.environ["AWS_ENDPOINT_URL"],
            "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
            "region_name": os.environ["AWS_REGION"],
        },
    )
    loader = litdata.StreamingDataLoader(dataset, batch_size=BATCH, num_workers=task.workers)
    if state:
        loader.load_state_dict(state)
    return case.Reading(_batches(loader), loader.state_dict)


def _batches(loader: Any) -> Iterator[torch.Tensor]:
    import torch

    for batch in loader:
        yield batch.to(torch.int64)


if __name__ == "__main__":
    case.main(prepare=prepare, load=load, read=read, libraries=("litdata",), extras={})
