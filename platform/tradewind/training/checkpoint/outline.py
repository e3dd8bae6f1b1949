"""Who holds which piece of a state, and who of those that hold the same writes it, told by a meeting of all ranks.

A meeting about every piece grows with tensors times ranks: 4.7 million for 405B parameters on 1,024 ranks. But tensors
come in bundles, which are of one type and shape and are cut alike, and a rank has a few dozen of those: it says where
in them its pieces are. The names in a bundle are told once, by the first rank that has it. So the meeting grows with
tensors plus ranks, and the outline that comes of it has each list of pieces once for all tensors that are cut so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import (
    STORAGE_TYPES,
    BytesStorageMetadata,
    ChunkStorageMetadata,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import WriteItem

from tradewind.errors import RunError
from tradewind.training.checkpoint.group import Group

Box = tuple[tuple[int, ...], tuple[int, ...]]
"""Where a piece begins in its tensor, and its size. Of what is no tensor, nothing."""
Holders = tuple[tuple[int, ...], ...]
"""The ranks that hold each piece of a tensor, in the order of its pieces."""


@dataclass(frozen=True)
class Bundle:
    """Names of a state whose values are alike, and their paths before the state was flattened."""

    names: tuple[str, ...]
    paths: tuple[Any, ...]
    dtype: torch.dtype | None
    """None of what is no tensor."""
    shape: tuple[int, ...]

    @property
    def digest(self) -> bytes:
        return blake2b(repr((self.names, self.paths, self.dtype, self.shape)).encode(), digest_size=16).digest()


@dataclass(frozen=True)
class Outline:
    """What all ranks hold. Tensors that are cut alike share their lists."""

    kept: dict[str, STORAGE_TYPES]
    paths: dict[str, Any]
    holders: dict[str, Holders]
    turns: dict[str, int]
    """Which of the holders of a piece writes it: this one, counted round."""

    def writer(self, name: str, number: int) -> int:
        """The rank that writes a piece, by its number among the pieces of its tensor."""
        holders = self.holders[name][number]
        return holders[self.turns[name] % len(holders)]


def agreed_outline(group: Group, items: Sequence[WriteItem], paths: Mapping[str, Any]) -> Outline:
    """The outline of what all ranks hold. A collective. Raises RunError on all for pieces that make no whole tensor."""
    held = [(bundle.digest, bundle, box) for bundle, box in bundled(items, paths)]
    everybodys = group.gather([(digest, box) for digest, _, box in held])
    asked = group.scatter(_askings(everybodys) if everybodys else None)
    told = group.gather({digest: bundle for digest, bundle, _ in held if digest in asked})
    outline: Outline | None = None
    error: RunError | None = None
    if everybodys and told:
        try:
            outline = outlined(everybodys, {digest: bundle for one in told for digest, bundle in one.items()})
        except RunError as exc:
            error = exc
    found, failed = group.share((outline, error))
    if failed or not found:
        raise failed or RunError("rank 0 has no outline of the state")
    return found


def written_by(rank: int, items: Iterable[WriteItem], outline: Outline) -> Iterator[WriteItem]:
    """Those of a rank's items that it writes itself. Pieces without numbers are written by nobody."""
    numbers: dict[int, dict[torch.Size, int]] = {}
    for item in items:
        kept, number = outline.kept[item.index.fqn], 0
        if isinstance(kept, TensorStorageMetadata) and item.tensor_data:
            if not math.prod(item.tensor_data.chunk.sizes):
                continue
            known = numbers.get(id(kept.chunks))
            if known is None:
                known = numbers[id(kept.chunks)] = {chunk.offsets: at for at, chunk in enumerate(kept.chunks)}
            number = known[item.tensor_data.chunk.offsets]
        if outline.writer(item.index.fqn, number) == rank:
            yield item


def bundled(items: Iterable[WriteItem], paths: Mapping[str, Any]) -> list[tuple[Bundle, Box]]:
    """What one rank holds, of a plan of torch for it alone."""
    names: dict[tuple[torch.dtype | None, tuple[int, ...], Box], list[str]] = {}
    for item in items:
        data = item.tensor_data
        kind = (data.properties.dtype, tuple(data.size)) if data else (None, ())
        names.setdefault((*kind, box_of(item)), []).append(item.index.fqn)
    return [
        (Bundle(tuple(among), tuple(paths[name] for name in among), dtype, shape), box)
        for (dtype, shape, box), among in names.items()
    ]


def box_of(item: WriteItem) -> Box:
    if item.tensor_data is None:
        return (), ()
    return tuple(item.tensor_data.chunk.offsets), tuple(item.tensor_data.chunk.sizes)


def outlined(held: Sequence[Sequence[tuple[bytes, Box]]], bundles: Mapping[bytes, Bundle]) -> Outline:
    """Of what each rank holds, in the order of ranks. Raises RunError for pieces that make no whole tensor."""
    boxes: dict[bytes, dict[Box, list[int]]] = {}
    for rank, mine in enumerate(held):
        for digest, box in mine:
            boxes.setdefault(digest, {}).setdefault(box, []).append(rank)
    within: dict[str, tuple[bytes, ...]] = {}
    for digest, bundle in bundles.items():
        for name in bundle.names:
            within[name] = (*within.get(name, ()), digest)
    same: dict[Holders, Holders] = {}
    cuts = {}
    for digests in dict.fromkeys(within.values()):
        chunks, among = _cut([boxes[one] for one in digests])
        cuts[digests] = chunks, same.setdefault(among, among)  # equal ones are one object
    kept = {name: _kept(name, [bundles[one] for one in digests], cuts[digests][0]) for name, digests in within.items()}
    holders = {name: cuts[digests][1] for name, digests in within.items()}
    paths = {name: path for bundle in bundles.values() for name, path in zip(bundle.names, bundle.paths, strict=True)}
    return Outline(kept, paths, holders, _turns(kept, holders))


def _askings(held: Sequence[Sequence[tuple[bytes, Box]]]) -> list[set[bytes]]:
    """Whose bundles rank 0 wants to see: of each, the first rank that has it."""
    seen: set[bytes] = set()
    asked: list[set[bytes]] = []
    for mine in held:
        asked.append({digest for digest, _ in mine} - seen)
        seen |= asked[-1]
    return asked


def _cut(boxes: Sequence[Mapping[Box, Sequence[int]]]) -> tuple[list[ChunkStorageMetadata], Holders]:
    """The pieces of a tensor, whoever holds them, without those of no numbers."""
    ranks: dict[Box, set[int]] = {}
    for among in boxes:
        for box, holders in among.items():
            if math.prod(box[1]):
                ranks.setdefault(box, set()).update(holders)
    chunks = [ChunkStorageMetadata(torch.Size(start), torch.Size(size)) for start, size in sorted(ranks)]
    return chunks, tuple(tuple(sorted(ranks[box])) for box in sorted(ranks))


def _kept(name: str, bundles: Sequence[Bundle], chunks: list[ChunkStorageMetadata]) -> STORAGE_TYPES:
    kinds = {(bundle.dtype, bundle.shape) for bundle in bundles}
    if len(kinds) > 1:
        raise RunError(f"ranks do not agree about {name}: {', '.join(f'{one} {shape}' for one, shape in kinds)}")
    dtype, shape = kinds.pop()
    if dtype is None:
        return BytesStorageMetadata()
    if sum(math.prod(chunk.sizes) for chunk in chunks) != math.prod(shape):
        raise RunError(
            f"the {len(chunks)} pieces of {name} that the ranks hold do not make a tensor of shape {shape}",
            hint="it is cut in different ways on different ranks",
        )
    return TensorStorageMetadata(TensorProperties(dtype=dtype), torch.Size(shape), chunks)


def _turns(kept: Mapping[str, STORAGE_TYPES], holders: Mapping[str, Holders]) -> dict[str, int]:
    """The largest first, each to the turn that has the least to write so far; single numbers to the first.

    An optimizer counts its steps for each weight, and all ranks hold that: whoever reads them asks one rank alone.
    """
    weights = {name: _largest_piece_bytes(one) for name, one in kept.items()}
    loads: dict[int, list[int]] = {}
    turns = {}
    for name in sorted(weights, key=lambda one: -weights[one]):
        one = kept[name]
        bins = loads.setdefault(id(holders[name]), [0] * max(map(len, holders[name]), default=1))
        is_single = isinstance(one, BytesStorageMetadata) or not one.size
        turns[name] = 0 if is_single else bins.index(min(bins))
        bins[turns[name]] += weights[name]
    return turns


def _largest_piece_bytes(kept: STORAGE_TYPES) -> int:
    if isinstance(kept, BytesStorageMetadata):
        return 1
    return kept.properties.dtype.itemsize * max((math.prod(chunk.sizes) for chunk in kept.chunks), default=0)
