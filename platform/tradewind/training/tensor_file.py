"""The safetensors format on any store: rows of a tensor read by range, files written one tensor at a time.

https://github.com/huggingface/safetensors#format: eight bytes of header length, a JSON header, and the tensors' bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from tradewind.errors import IntegrityError, NotFoundError
from tradewind.storage import Store

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
RANGE_BYTES = 16 * 2**20
RANGES_AT_ONCE = 4
"""Ranges are asked for together, and what they bring is all that reading holds beside the tensor that is filled."""
FIRST_BYTES = 2**20
"""Read of each file to learn its header, which is smaller in all but the largest."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file: `start` is its first byte there."""

    store: Store
    key: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def rows(self, first: int, end: int) -> Iterator[tuple[int, Tensor]]:
        """The rows [first, end), some at a time, each part with the number of its first row."""
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        at_once = max(1, RANGE_BYTES // row_bytes)
        starts = range(first, end, at_once)
        for number in range(0, len(starts), RANGES_AT_ONCE):
            some = starts[number : number + RANGES_AT_ONCE]
            bounds = [(row, min(row + at_once, end)) for row in some]
            ranges = [(self.start + low * row_bytes, self.start + high * row_bytes) for low, high in bounds]
            for (low, high), data in zip(bounds, self.store.get_ranges(self.key, ranges), strict=True):
                part = torch.frombuffer(bytearray(data), dtype=self.dtype)
                yield low, part.view(high - low, *self.shape[1:])

    def read(self) -> Tensor:
        """The whole tensor."""
        whole = torch.empty(self.shape, dtype=self.dtype)
        for first, part in self.rows(0, self.shape[0]):
            whole[first : first + len(part)] = part
        return whole


def open_tensors(store: Store) -> dict[str, StoredTensor]:
    """All tensors below a store's root, by name, in the order of the files. Only headers are read.

    Raises NotFoundError where there are no such files, and IntegrityError for files that are cut short or damaged.
    """
    found: dict[str, StoredTensor] = {}
    for key in _files(store):
        found |= _header(store, key)
    return found


def _files(store: Store) -> list[str]:
    try:
        index = json.loads(store.get(INDEX))
        return sorted(set(index["weight_map"].values()))
    except NotFoundError:
        pass  # weights in one file have no index
    try:
        store.head(SINGLE)
    except NotFoundError as exc:
        raise NotFoundError(
            f"{store.url} has neither {SINGLE} nor {INDEX}", hint="name the folder that holds a model's safetensors"
        ) from exc
    return [SINGLE]


def _header(store: Store, key: str) -> dict[str, StoredTensor]:
    size = store.head(key).num_bytes
    damaged = IntegrityError(f"{store.url}/{key} is no whole safetensors file", hint="copy it again")
    if size < 8:
        raise damaged
    (first,) = store.get_ranges(key, [(0, min(size, FIRST_BYTES))])
    end = 8 + int.from_bytes(first[:8], "little")
    if end > size:
        raise damaged
    if end > len(first):
        (first,) = store.get_ranges(key, [(0, end)])
    try:
        entries = json.loads(first[8:end])
        found = {name: _stored(store, key, entry, end) for name, entry in entries.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError) as exc:
        raise damaged from exc
    if max((tensor.start + tensor.num_bytes for tensor in found.values()), default=end) != size:
        raise damaged
    return found


def _stored(store: Store, key: str, entry: Mapping[str, Any], header_end: int) -> StoredTensor:
    low, high = entry["data_offsets"]
    tensor = StoredTensor(store, key, DTYPES[entry["dtype"]], tuple(entry["shape"]), header_end + low)
    if tensor.num_bytes != high - low:
        raise ValueError(f"{high - low} bytes for {tensor.num_bytes}")
    return tensor


@dataclass(frozen=True)
class PlannedTensor:
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def plan_files(tensors: Sequence[PlannedTensor], max_shard_bytes: int) -> dict[str, list[PlannedTensor]]:
    """Which tensors go into which file, none larger than the limit unless one tensor is."""
    shards: list[list[PlannedTensor]] = [[]]
    for tensor in tensors:
        if shards[-1] and sum(one.num_bytes for one in shards[-1]) + tensor.num_bytes > max_shard_bytes:
            shards.append([])
        shards[-1].append(tensor)
    if len(shards) == 1:
        return {SINGLE: shards[0]}
    return {f"model-{number:05d}-of-{len(shards):05d}.safetensors": shard for number, shard in enumerate(shards, 1)}


def index_of(files: Mapping[str, Sequence[PlannedTensor]]) -> bytes:
    """The content of `model.safetensors.index.json`."""
    places = {tensor.name: key for key, tensors in files.items() for tensor in tensors}
    total = sum(tensor.num_bytes for tensors in files.values() for tensor in tensors)
    return json.dumps({"metadata": {"total_size": total}, "weight_map": places}, indent=2, sort_keys=True).encode()


def write_files(
    files: Mapping[str, Sequence[PlannedTensor]], tensors: Iterator[tuple[str, Tensor]], store: Store
) -> None:
    """Take the planned tensors in their order and write files, one at a time on this machine's disk, the index last.

    Raises ValueError when the tensors are others than planned.
    """
    with TemporaryDirectory(prefix="weights-") as folder:
        for key, planned in files.items():
            path = Path(folder) / key
            with path.open("wb") as file:
                file.write(_header_of(planned))
                for wanted, (name, tensor) in zip(planned, tensors, strict=False):
                    if (name, tuple(tensor.shape)) != (wanted.name, wanted.shape):
                        raise ValueError(f"{name} {list(tensor.shape)} came for {wanted.name} {list(wanted.shape)}")
                    part = tensor.detach().to("cpu", wanted.dtype).contiguous()
                    file.write(part.view(torch.uint8).numpy().data)
            store.put(key, path)
            path.unlink()
    if len(files) > 1:
        store.put(INDEX, index_of(files))


def _header_of(tensors: Sequence[PlannedTensor]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        start, end = end, end + tensor.num_bytes
        entries[tensor.name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
