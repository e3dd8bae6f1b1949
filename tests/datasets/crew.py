"""A process that reads its part of the batches and writes down what it has read, until it is killed.

python -m tests.datasets.crew '{"store": "s3://…", "rank": 0, "world": 2, "samples": 0, …}'
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from tradewind.datasets.dataset import Dataset
from tradewind.datasets.reading.batches import Batches
from tradewind.datasets.reading.reader import Reader
from tradewind.datasets.reading.samples import Samples
from tradewind.records import DatasetVersion
from tradewind.storage import open_store
from tradewind.storage.cache import Cache


def open_batches(store: str, record: str, *, sequences: int, lanes: int, seed: int = 0) -> Batches:
    dataset = Dataset(open_store(store), DatasetVersion.model_validate_json(record))
    return Batches(Samples(dataset, "train", width=6), sequences=sequences, seed=seed, window=2, lanes=lanes)


def read(told: dict[str, object]) -> None:
    made = open_batches(str(told["store"]), str(told["record"]), **told["order"])  # type: ignore[arg-type]
    cache = Cache(Path(str(told["cache"])), int(str(told["max_bytes"])))
    reader = Reader(made, epochs=2, cache=cache, **told["who"])  # type: ignore[arg-type]
    ends = np.concatenate([[0], np.cumsum(made.sources[0].table.tokens)])
    with Path(str(told["log"])).open("a", buffering=1) as log:
        for batch in reader:
            shards, rows = made.sources[0].segments.find(batch.sample)
            right = (ends[shards] + 5 * rows)[:, None] + np.arange(6)
            line = {
                "step": batch.step,
                "rows": batch.rows,
                "digest": [int(word) for word in batch.digest],
                "samples": batch.sample.tolist(),
                "right": bool((batch.tokens == right).all()),
            }
            log.write(json.dumps(line) + "\n")
            time.sleep(float(str(told["pause_s"])))
        log.write(json.dumps({"step": -1}) + "\n")


if __name__ == "__main__":
    read(json.loads(sys.argv[1]))
