"""Hugging Face datasets: Parquet streamed through s3fs, shuffled files and a buffer of 1000, StatefulDataLoader."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.peers import case, parquet
from benchmarks.tokens import BATCH


def load() -> None:
    import datasets
    import s3fs  # noqa: F401
    import torchdata.stateful_dataloader  # noqa: F401

    datasets.disable_progress_bars()
    datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0  # else 5 s at the end of each epoch, which here is a short one


def read(task: case.Task, state: Any) -> case.Reading:
    import datasets
    from torchdata.stateful_dataloader import StatefulDataLoader

    stream = datasets.load_dataset(
        "parquet",
        data_files=[f"s3://{case.BUCKET}/{parquet.PREFIX}/{file}" for file in parquet.FILES],
        split="train",
        streaming=True,
        storage_options={
            "key": os.environ["AWS_ACCESS_KEY_ID"],
            "secret": os.environ["AWS_SECRET_ACCESS_KEY"],
            "client_kwargs": {"endpoint_url": os.environ["AWS_ENDPOINT_URL"]},
            "config_kwargs": {"s3": {"addressing_style": "path"}},
        },
    )
    loader = StatefulDataLoader(
        stream.shuffle(seed=0, buffer_size=1000).with_format("numpy"),
        batch_size=BATCH,
        num_workers=task.workers,
        collate_fn=lambda rows: case.to_tensor([row["tokens"] for row in rows]),
    )
    if state:
        loader.load_state_dict(state)
    return case.Reading(loader, loader.state_dict)


if __name__ == "__main__":
    case.main(prepare=parquet.prepare, load=load, read=read, libraries=("datasets", "s3fs", "torchdata"), extras={})
