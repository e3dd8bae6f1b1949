"""Tokens as they are, 16 MiB an object: what the bare loop and Grain read."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.case import Task, upload
from benchmarks.tokens import PER_SHARD, SEQUENCES, shards

PREFIX = "raw"
KEYS = [f"{PREFIX}/{number:05d}.bin" for number in range(-(-SEQUENCES // PER_SHARD))]


def prepare(task: Task) -> None:
    def write(folder: Path) -> None:
        for key, shard in zip(KEYS, shards(task.tokens()), strict=True):
            (folder / Path(key).name).write_bytes(shard.tobytes())

    upload(task.formats(PREFIX, write), PREFIX)
