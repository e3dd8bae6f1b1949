"""The checkpoints that a run's records name: where their files are, and which is the newest that is whole."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tradewind.errors import IntegrityError, TradewindError
from tradewind.records import CheckpointRecord
from tradewind.storage import Store
from tradewind.storage.integrity import altered, missing
from tradewind.training.run import RunFiles

FOLDER = "checkpoints"
REFUSED = ".refused"
"""Behind the name of a record that nothing goes on from any more."""


@dataclass(frozen=True)
class Refused:
    """A checkpoint that was passed over: its record's key, and what is wrong."""

    key: str
    error: TradewindError


def newest_whole(
    files: RunFiles, *, without: Collection[str] = ()
) -> tuple[CheckpointRecord | None, tuple[Refused, ...]]:
    """The newest checkpoint whose files are all there with their lengths, and the newer ones for which that is not so.

    Bytes are not read: `load` verifies them. Records of the keys in `without` are passed over without a word.
    """
    refused: list[Refused] = []
    for key in reversed(record_keys(files)):
        if key in without:
            continue
        try:
            record = CheckpointRecord.from_json(files.store.get(key), where=key)
            check_complete(files.store, record)
        except IntegrityError as exc:
            refused.append(Refused(key, exc))
        else:
            return record, tuple(refused)
    return None, tuple(refused)


def record_key(files: RunFiles, step: int) -> str:
    return files.key(f"{FOLDER}/{step:09d}.json")


def record_keys(files: RunFiles) -> list[str]:
    """Of all checkpoints, oldest first."""
    return sorted(item.key for item in files.store.list(files.key(FOLDER)) if item.key.endswith(".json"))


def check_complete(store: Store, record: CheckpointRecord) -> None:
    """Raises IntegrityError for a checkpoint that lacks a file, or has one of another length."""
    if not record.files:
        raise IntegrityError(f"{record.id} names no files", hint="use an earlier checkpoint")
    sizes = {item.key: item.num_bytes for item in store.list(folder_of(record))}
    for file in record.files:
        if file.key not in sizes:
            raise missing(file, what=record.id)
        if sizes[file.key] != file.num_bytes:
            raise altered(file, f"has {sizes[file.key]} bytes instead of {file.num_bytes}", what=record.id)


def folder_of(record: CheckpointRecord) -> str:
    """Where the files of a checkpoint are."""
    return record.files[0].key.rpartition("/")[0] if record.files else ""


def set_aside(files: RunFiles, key: str) -> None:
    """Let a record be none any more, and keep its text."""
    files.store.put(key + REFUSED, files.store.get(key))
    files.store.delete(key)
