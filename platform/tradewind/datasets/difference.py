"""What is other in one version than in another: files, counts, columns, tokenizer and wish."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tradewind.datasets.dataset import Dataset

Change = tuple[Any, Any]
"""Before and after. None where there was nothing, or is nothing any more."""


@dataclass(frozen=True)
class SplitDifference:
    """Of one split: how many shards only the new version has, only the old one, and both; and their bytes."""

    added: int
    removed: int
    shared: int
    bytes_added: int
    bytes_removed: int
    tokens: Change
    rows: Change
    documents: Change
    num_bytes: Change

    @property
    def is_same(self) -> bool:
        return not self.added and not self.removed


@dataclass(frozen=True)
class Difference:
    """`columns` and `spec` hold only what has changed. `is_parent`: the new one was made from the old one."""

    old: str
    new: str
    is_parent: bool
    splits: dict[str, SplitDifference]
    format: Change
    dtype: Change
    tokenizer_is_same: bool
    columns: dict[str, Change]
    spec: dict[str, Change]

    @property
    def is_same(self) -> bool:
        """Whether both hold the same bytes, however they came to be."""
        return self.tokenizer_is_same and not self.columns and all(one.is_same for one in self.splits.values())

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "same": self.is_same}


def compare(old: Dataset, new: Dataset) -> Difference:
    """Reads the lists of shards, and none of their bytes."""
    before, after = old.record, new.record
    names = list(dict.fromkeys([*before.splits, *after.splits]))
    return Difference(
        old=old.reference,
        new=new.reference,
        is_parent=before.id in after.parents,
        splits={name: _split(old, new, name) for name in names},
        format=(before.format, after.format),
        dtype=(before.dtype, after.dtype),
        tokenizer_is_same=_sha256(old) == _sha256(new),
        columns=_changes(before.columns, after.columns),
        spec=_changes(dict(_flat(before.spec)), dict(_flat(after.spec))),
    )


def _split(old: Dataset, new: Dataset, name: str) -> SplitDifference:
    before, after = _shards(old, name), _shards(new, name)
    added, removed = after - before, before - after
    counts = [dataset.record.splits.get(name) for dataset in (old, new)]

    def change(field: str) -> Change:
        first, second = (getattr(split, field) if split else None for split in counts)
        return first, second

    return SplitDifference(
        added=added.total(),
        removed=removed.total(),
        shared=(before & after).total(),
        bytes_added=_bytes(added),
        bytes_removed=_bytes(removed),
        tokens=change("tokens"),
        rows=change("rows"),
        documents=change("documents"),
        num_bytes=(_bytes(before), _bytes(after)),
    )


def _shards(dataset: Dataset, split: str) -> Counter[tuple[bytes, int]]:
    """The checksum and length of each shard, and how often it stands there."""
    if split not in dataset.record.splits:
        return Counter()
    table = dataset.shard_table(split)
    raw = table.sha256.tobytes()
    digests = (raw[start : start + 32] for start in range(0, len(raw), 32))
    return Counter(zip(digests, table.num_bytes.tolist(), strict=True))


def _bytes(shards: Counter[tuple[bytes, int]]) -> int:
    return sum(num_bytes * count for (_, num_bytes), count in shards.items())


def _sha256(dataset: Dataset) -> str | None:
    return dataset.record.tokenizer.sha256 if dataset.record.tokenizer else None


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`{"text": {"files": x}}` as `text.files`, x."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Change]:
    names = dict.fromkeys([*before, *after])
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}
