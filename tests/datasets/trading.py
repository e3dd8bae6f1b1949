"""A dataset of several versions in a bucket, runs that read it, and an archive in memory for tests of tiers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tradewind.clusters import is_gone, this_process
from tradewind.datasets import Datasets
from tradewind.datasets.corpus.packing import put_shard
from tradewind.datasets.shards import list_shards
from tradewind.datasets.tiers.heat import Use
from tradewind.datasets.tiers.tiering import Tiering
from tradewind.errors import ArchivedError, SpecError
from tradewind.records import DatasetVersion, Machine, ProcessName, Record, RunEnd, RunStart, now
from tradewind.storage import Store
from tradewind.storage.classes.table import Cloud, RestoreState, StoredClass, Tier, classes
from tradewind.training.uses import Uses

NAME = "logbook"
LONG_AGO = now() - timedelta(days=400)
LIVE = ProcessName(host="elsewhere", pid=1, started=1.0)
GONE = ProcessName(host=socket.gethostname(), pid=os.getpid(), started=1.0)


def add_versions(
    store: Store, *contents: Sequence[int], made_at: datetime = LONG_AGO, tokens: int = 64
) -> list[DatasetVersion]:
    """A version for each list of numbers, with a shard for each number: the same number is the same shard."""
    import numpy as np

    made = []
    for some in contents:
        shards = [put_shard(store, NAME, np.full(tokens, number, dtype=np.uint16)) for number in some]
        split = list_shards(store, NAME, shards)

        def make(version: int, writer: str, split: object = split) -> DatasetVersion:
            return DatasetVersion.model_validate(
                {
                    "name": NAME,
                    "version": version,
                    "writer": writer,
                    "dtype": "uint16",
                    "splits": {"train": split},
                    "spec": {},
                    "created_at": made_at,
                }
            )

        made.append(Datasets(store).commit(NAME, make).record)
    return made


def add_run(
    store: Store,
    name: str,
    version: DatasetVersion,
    *,
    process: ProcessName = LIVE,
    started_at: datetime = LONG_AGO,
    ended_at: datetime | None = None,
) -> RunStart:
    start = RunStart(
        run=name,
        dataset=f"{version.name}@{version.version}",
        parents=(version.id,),
        parameters=1,
        spec={},
        machine=Machine(host="quay", processor="x", num_cpus=1, memory_bytes=1, usd_per_hour=0.0),
        process=process,
        versions={},
        created_at=started_at,
    )
    store.put(f"runs/{name}/run.json", start.to_json())
    if ended_at:
        end = RunEnd(run=name, status="finished", created_at=ended_at)
        store.put(f"runs/{name}/end.json", end.to_json())
    return start


def tiering(store: Store) -> Tiering:
    uses = Uses(store)

    def records() -> Iterator[Record]:
        yield from uses.starts()

    return Tiering(Datasets(store), uses, records, this_process, is_gone)


@dataclass
class Shelf:
    """A `ClassStore` in memory: what is where, and every move in order."""

    names: dict[str, str]
    sizes: dict[str, int]
    cloud: Cloud = "s3"
    missing: tuple[str, ...] = ()
    moved: list[tuple[str, str]] = field(default_factory=list)
    states: dict[str, RestoreState] = field(default_factory=dict)
    fails_at: int | None = None

    def list(self, prefix: str) -> Iterator[StoredClass]:
        found = [key for key in self.names if key.startswith(f"{prefix}/")]
        return (StoredClass(key, self.sizes[key], self.names[key], LONG_AGO) for key in found)

    def check(self, key: str, name: str) -> None:
        if name in self.missing:
            raise SpecError(f"no class {name}")

    def move(self, key: str, name: str, *, tier: Tier) -> None:
        if self.fails_at is not None and len(self.moved) >= self.fails_at:
            raise ArchivedError(f"{key} is archived")
        assert classes(self.cloud)[tier].name == name
        self.moved.append((key, name))
        self.names[key] = name

    def restore(self, key: str, *, days: int) -> None:
        self.states[key] = "restoring"

    def state(self, key: str) -> RestoreState:
        return self.states.get(key, "archived")


def use(version: int, *, live: bool = True, run: str = "voyage", at: datetime = LONG_AGO) -> Use:
    return Use(run, f"{NAME}@{version}", (), "quay", at, None, live)
