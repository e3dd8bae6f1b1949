"""Who writes what: pieces of the state, laid out in files, and the metadata by which torch finds them.

Replicas are written once, and any other mesh can read the parts. That needs the ranks to meet, and what comes of it
depends on types, shapes and placements alone: they meet once, and again when those have changed.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed.checkpoint._nested_dict import flatten_state_dict
from torch.distributed.checkpoint.default_planner import create_default_local_save_plan
from torch.distributed.checkpoint.metadata import MetadataIndex
from torch.distributed.checkpoint.planner import WriteItem, WriteItemType
from torch.distributed.tensor import DTensor

from tradewind.training.checkpoint.contents import assembled, packed
from tradewind.training.checkpoint.group import Group
from tradewind.training.checkpoint.outline import agreed_outline, written_by
from tradewind.training.checkpoint.piece import Frames

FILES = 8
"""A rank's part is cut into about so many files, of which several are on their way at a time."""
SMALLEST_FILE_BYTES, LARGEST_FILE_BYTES = 16 * 2**20, 256 * 2**20
"""Where that gives files of another size. One rank of a 405B on 1,024 writes 21 of the largest."""
ALIGNMENT = 64
"""Of each piece in its file, and so of its numbers in memory, as in torch's own files."""

State = Mapping[str, Any]


@dataclass(frozen=True)
class Piece:
    """A part of the state in a file. `num_bytes` counts what stands around the numbers too."""

    item: WriteItem
    offset: int
    num_bytes: int


@dataclass(frozen=True)
class PlannedFile:
    name: str
    pieces: tuple[Piece, ...]
    num_bytes: int


@dataclass(frozen=True)
class Plan:
    """What this rank writes. Rank 0 has the metadata of all, which names no checkpoint and so fits each."""

    files: tuple[PlannedFile, ...]
    metadata: bytes | None

    @property
    def num_bytes(self) -> int:
        return sum(file.num_bytes for file in self.files) + len(self.metadata or b"")


class Planning:
    """Plans states of one run, and keeps the last plan."""

    def __init__(self, group: Group, frames: Frames) -> None:
        self._group = group
        self._frames = frames
        self._seen: tuple[Any, ...] | None = None
        self._plan = Plan((), None)

    def plan(self, state: State) -> tuple[Plan, dict[str, Any]]:
        """The plan of a state, and the state flattened, without DTensors' meshes copied. A collective."""
        flat, paths = flatten_state_dict(dict(state))
        seen = tuple(_outline(name, value) for name, value in flat.items())
        if not self._group.all(seen == self._seen):
            self._plan = self._agreed(flat, paths)
            self._seen = seen
        return self._plan, flat

    def _agreed(self, flat: Mapping[str, Any], paths: Mapping[str, Any]) -> Plan:
        items = create_default_local_save_plan(dict(flat), is_coordinator=self._group.rank == 0).items
        outline = agreed_outline(self._group, items, paths)
        mine = written_by(self._group.rank, items, outline)
        files = laid_out(self._sized(mine, flat), rank=self._group.rank)
        parts = self._group.gather(packed(_places(files)))
        return Plan(files, assembled(outline, parts) if parts else None)

    def _sized(self, items: Iterable[WriteItem], flat: Mapping[str, Any]) -> Iterable[tuple[WriteItem, int]]:
        for item in sorted(items, key=lambda one: one.type != WriteItemType.BYTE_IO):
            value = value_of(item, flat)
            if isinstance(value, torch.Tensor):
                yield item, self._frames.size_of(value)
            else:
                yield item, len(pickled(value))


def flattened(state: State) -> dict[str, Any]:
    flat, _ = flatten_state_dict(dict(state))
    return flat


def value_of(item: WriteItem, flat: Mapping[str, Any]) -> Any:
    """What an item of a plan means in a flattened state: of a DTensor this rank's part."""
    value = flat[item.index.fqn]
    return value.to_local().detach() if isinstance(value, DTensor) else value


def pickled(value: Any) -> bytes:
    """What is no tensor, as torch writes it."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def laid_out(sized: Iterable[tuple[WriteItem, int]], *, rank: int) -> tuple[PlannedFile, ...]:
    """Pieces one behind the other in files of about one size; a piece that is larger has a file of its own."""
    sized = list(sized)
    most = min(LARGEST_FILE_BYTES, max(SMALLEST_FILE_BYTES, sum(num_bytes for _, num_bytes in sized) // FILES))
    files: list[PlannedFile] = []
    pieces: list[Piece] = []
    end = 0
    for item, num_bytes in sized:
        if pieces and end + num_bytes > most:
            files.append(PlannedFile(_name(rank, len(files)), tuple(pieces), end))
            pieces, end = [], 0
        offset = math.ceil(end / ALIGNMENT) * ALIGNMENT
        pieces.append(Piece(item, offset, num_bytes))
        end = offset + num_bytes
    if pieces:
        files.append(PlannedFile(_name(rank, len(files)), tuple(pieces), end))
    return tuple(files)


def _name(rank: int, number: int) -> str:
    return f"__{rank}_{number}.distcp"


def _outline(name: str, value: Any) -> tuple[Any, ...]:
    """What a plan depends on."""
    if isinstance(value, DTensor):
        return name, value.shape, value.dtype, value.placements, value.device_mesh
    if isinstance(value, torch.Tensor):
        return name, value.shape, value.dtype
    return name, len(pickled(value))


def _places(files: Sequence[PlannedFile]) -> dict[MetadataIndex, tuple[str, int, int]]:
    return {piece.item.index: (file.name, piece.offset, piece.num_bytes) for file in files for piece in file.pieces}
