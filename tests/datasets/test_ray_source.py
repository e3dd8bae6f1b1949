from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.datasets.test_versions import commit
from tests.samples import dataset_spec, write_text
from tradewind.datasets import Dataset, Datasets
from tradewind.errors import NotFoundError, SpecError
from tradewind.storage import open_store

pytestmark = pytest.mark.slow

ROWS = pa.table({"number": list(range(100)), "boxes": [[n, n + 1] for n in range(100)]})
LENGTH = 64

PROGRAM = """
import json, sys
import ray
from tradewind.datasets import Datasets
from tradewind.datasets.filesystem import TradewindFileSystem
from tradewind.storage import open_store

url, folder, length = sys.argv[1], sys.argv[2], int(sys.argv[3])
ray.init(address="local", _temp_dir=folder, num_cpus=2, include_dashboard=False, log_to_driver=False)
datasets = Datasets(open_store(url))
fs = TradewindFileSystem(url)
files = ray.data.read_parquet(["harbour/train/00000.parquet", "harbour/train/00001.parquet"], filesystem=fs)
folder = ray.data.read_parquet("harbour@1/train", filesystem=fs)
table = datasets.get("harbour").to_ray("train")
some = datasets.get("harbour").to_ray("train", columns=["number"])
samples = datasets.get("logbook").to_ray("train", tokens_per_sequence=length)
numbers = lambda dataset: sorted(row["number"] for row in dataset.take_all())
said = {
    "files": numbers(files),
    "folder": numbers(folder),
    "count before reading": table.count(),
    "schema": str(table.schema().base_schema),
    "table": sorted(((row["number"], list(map(int, row["boxes"]))) for row in table.take_all())),
    "columns": some.schema().names,
    "some": numbers(some),
    "count of samples": samples.count(),
    "type of samples": str(samples.schema().base_schema.field("tokens").type),
    "samples": sorted(list(map(int, row["tokens"])) for row in samples.take_all()),
}
ray.shutdown()
print(json.dumps(said))
"""


@pytest.fixture(scope="module", params=["folder", "s3"])
def datasets(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Datasets:
    url = str(tmp_path_factory.mktemp("ray") / "ws")
    if request.param == "s3":
        url = f"{request.getfixturevalue('moto_s3')}/{uuid.uuid4().hex}"
    found = Datasets(open_store(url))
    found.add_table("harbour", ROWS)
    found.append_table("harbour", ROWS.slice(50))
    found.add(dataset_spec(write_text(tmp_path_factory.mktemp("text"))))
    return found


@pytest.fixture(scope="module")
def said(datasets: Datasets) -> Iterator[dict[str, Any]]:
    """What a program on a Ray of its own has read."""
    folder = tempfile.mkdtemp(prefix="tw-", dir="/tmp")
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, datasets.store.url, folder, str(LENGTH)],
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        yield json.loads(done.stdout.splitlines()[-1])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_ray_reads_the_files_of_a_table_through_the_filesystem(said: dict[str, Any]) -> None:
    assert said["files"] == sorted([*range(100), *range(50, 100)])
    assert said["folder"] == list(range(100))


def test_ray_reads_a_table_with_its_schema_and_knows_its_length(said: dict[str, Any]) -> None:
    assert said["count before reading"] == 150
    assert said["table"] == sorted([[n, [n, n + 1]] for n in [*range(100), *range(50, 100)]])
    assert said["columns"] == ["number"]
    assert said["some"] == said["files"]
    assert re.search(r"number: int64\nboxes: list<\w+: int64>", said["schema"])


def test_samples_of_ray_are_those_of_training(said: dict[str, Any], datasets: Datasets) -> None:
    expected = [
        tokens[start : start + LENGTH + 1].tolist()
        for tokens in datasets.get("logbook").shards("train")
        for start in range(0, len(tokens) - LENGTH, LENGTH)
    ]
    assert said["samples"] == sorted(expected)
    assert said["count of samples"] == len(expected)
    assert said["type of samples"] == str(pa.list_(pa.uint16(), LENGTH + 1))


class TestRefusal:
    @pytest.fixture
    def tokens(self, tmp_path: Path) -> Dataset:
        return commit(open_store(str(tmp_path)), 1, 2, 3)

    @pytest.fixture
    def table(self, tmp_path: Path) -> Dataset:
        return Datasets(open_store(str(tmp_path))).add_table("harbour", ROWS)

    def test_tokens_need_a_length_and_have_no_columns(self, tokens: Dataset) -> None:
        for wrong in ({}, {"tokens_per_sequence": 0}, {"columns": ["a"], "tokens_per_sequence": 1}):
            with pytest.raises(SpecError, match="tide@1 holds tokens, not rows"):
                tokens.to_ray("train", **wrong)
        with pytest.raises(SpecError, match=r"no shard of tide@1 \(train\) has a whole sample"):
            tokens.to_ray("train", tokens_per_sequence=3)

    def test_tables_have_no_samples(self, table: Dataset) -> None:
        with pytest.raises(SpecError, match="harbour@1 is a table and has no samples"):
            table.to_ray("train", tokens_per_sequence=3)
        with pytest.raises(NotFoundError, match=r"no column 'numbr' \(did you mean 'number'"):
            table.to_ray("train", columns=["numbr"])
