"""Ray Data: read_parquet of shuffled files, a local shuffle buffer, numpy batches.

Ray is started outside the clock, as it runs already where Ray Data is used. It has no state of an iterator.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers import case, parquet
from benchmarks.tokens import BATCH

if TYPE_CHECKING:
    import torch


def load() -> None:
    import ray.data

    ray.init(
        address="local",
        num_cpus=max(2, os.cpu_count() or 1),
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=1 << 30,
        _temp_dir=tempfile.gettempdir(),
    )
    ray.data.DataContext.get_current().enable_progress_bars = False


def read(task: case.Task, state: Any) -> case.Reading:
    return case.Reading(_batches())


def _batches() -> Iterator[torch.Tensor]:
    import pyarrow.fs
    import ray.data

    server = pyarrow.fs.S3FileSystem(endpoint_override=os.environ["AWS_ENDPOINT_URL"], region=os.environ["AWS_REGION"])
    dataset = ray.data.read_parquet(f"{case.BUCKET}/{parquet.PREFIX}/", filesystem=server, shuffle="files")
    batches = dataset.iter_batches(
        batch_size=BATCH,
        local_shuffle_buffer_size=1024,
        local_shuffle_seed=0,
        prefetch_batches=4,
        batch_format="numpy",
    )
    for batch in batches:
        tokens: Any = batch["tokens"]
        yield case.as_int64(np.stack(tokens) if tokens.dtype == object else tokens)


if __name__ == "__main__":
    case.main(prepare=parquet.prepare, load=load, read=read, libraries=("ray", "pyarrow"), extras={})
