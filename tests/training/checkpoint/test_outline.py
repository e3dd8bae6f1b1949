"""Ranks that meet in one process: what each would hold of a state, on meshes of up to a thousand ranks."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import SavePlan, TensorWriteData, WriteItem, WriteItemType

from tradewind.errors import RunError
from tradewind.training.checkpoint.outline import Outline, bundled, outlined, written_by

Shape = tuple[int, ...]


def piece(name: str, shape: Shape, start: Shape, size: Shape) -> WriteItem:
    chunk = ChunkStorageMetadata(torch.Size(start), torch.Size(size))
    data = TensorWriteData(chunk, TensorProperties(torch.float32), torch.Size(shape))
    return WriteItem(MetadataIndex(name, start), WriteItemType.SHARD, tensor_data=data)


def rows(name: str, shape: Shape, rank: int, ranks: int) -> WriteItem:
    each = -(-shape[0] // ranks)
    start = min(rank * each, shape[0])
    rest = (0,) * (len(shape) - 1)
    return piece(name, shape, (start, *rest), (min(each, shape[0] - start), *shape[1:]))


def whole(name: str, shape: Shape) -> WriteItem:
    return piece(name, shape, (0,) * len(shape), shape)


def thing(name: str) -> WriteItem:
    return WriteItem(MetadataIndex(name), WriteItemType.BYTE_IO)


def met(plans: list[list[WriteItem]]) -> Outline:
    held = [bundled(items, {item.index.fqn: (item.index.fqn,) for item in items}) for items in plans]
    bundles = {bundle.digest: bundle for mine in held for bundle, _ in mine}
    return outlined([[(bundle.digest, box) for bundle, box in mine] for mine in held], bundles)


def writers(plans: list[list[WriteItem]]) -> dict[MetadataIndex, list[int]]:
    outline, found = met(plans), dict[MetadataIndex, list[int]]()
    for rank, items in enumerate(plans):
        for item in written_by(rank, items, outline):
            found.setdefault(item.index, []).append(rank)
    return found


def of_torch(plans: list[list[WriteItem]]) -> Metadata:
    planner = DefaultSavePlanner()
    _, metadata = planner.create_global_plan([SavePlan(items, planner_data={}) for items in plans])
    return metadata


@st.composite
def states(draw: Any) -> list[list[WriteItem]]:
    """On replicate × shard × pipeline ranks: tensors that are cut or whole, of one stage or of all, and one of each."""
    replicate, shard, stages = (draw(st.integers(1, 3)) for _ in range(3))
    tensors = draw(
        st.lists(
            st.tuples(
                st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple),
                st.booleans(),
                st.integers(-1, stages - 1),
            ),
            max_size=6,
        )
    )
    plans: list[list[WriteItem]] = []
    for stage, _, part in product(range(stages), range(replicate), range(shard)):
        items = [whole(f"random-{len(plans)}", (5,)), thing("word"), whole("number", ())]
        for number, (shape, is_cut, where) in enumerate(tensors):
            if where in (-1, stage):
                name = f"weight-{number}"
                items.append(rows(name, shape, part, shard) if is_cut else whole(name, shape))
        plans.append(items)
    return plans


@given(states())
def test_every_piece_is_written_once_and_nothing_else_is(plans: list[list[WriteItem]]) -> None:
    pieces = {item.index for items in plans for item in items if not is_empty(item)}
    found = writers(plans)
    assert found.keys() == pieces
    assert all(len(ranks) == 1 for ranks in found.values())


@given(states())
def test_pieces_are_those_of_torchs_planner(plans: list[list[WriteItem]]) -> None:
    ours = met(plans).kept
    theirs = of_torch([[item for item in items if not is_empty(item)] for items in plans]).state_dict_metadata
    assert ours.keys() == theirs.keys()
    for name, there in theirs.items():
        here = ours[name]
        assert type(here) is type(there)
        if isinstance(here, TensorStorageMetadata) and isinstance(there, TensorStorageMetadata):
            assert (here.size, here.properties.dtype) == (there.size, there.properties.dtype)
            assert {str(chunk) for chunk in here.chunks} == {str(chunk) for chunk in there.chunks}
        else:
            assert isinstance(here, BytesStorageMetadata)


def is_empty(item: WriteItem) -> bool:
    return item.tensor_data is not None and 0 in item.tensor_data.chunk.sizes


def test_replicas_are_shared_out_by_bytes() -> None:
    sizes = [90, 40, 30, 20, 10, 10]
    items = [whole(f"weight-{number}", (size,)) for number, size in enumerate(sizes)]
    loads = [0, 0]
    for index, (rank,) in writers([items, items]).items():
        loads[rank] += sizes[int(index.fqn[-1])]
    assert sorted(loads) == [100, 100]


def test_single_numbers_are_all_on_one_rank() -> None:
    items = [whole(f"step-{number}", ()) for number in range(9)] + [thing("word")]
    assert {rank for ranks in writers([items] * 4).values() for rank in ranks} == {0}


def test_names_of_a_bundle_are_asked_of_one_rank() -> None:
    plans = [[rows(f"weight-{number}", (2048, 2), rank, 1024) for number in range(50)] for rank in (0, 700)]
    first, second = (bundled(items, {item.index.fqn: () for item in items}) for items in plans)
    assert len(first) == len(second) == 1
    assert first[0][0].digest == second[0][0].digest
    assert second[0][1] == ((1400, 0), (2, 2))


def test_tensors_that_are_cut_alike_share_one_list_of_pieces() -> None:
    plans = [[rows(f"weight-{number}", (8, 2), rank, 4) for number in range(3)] for rank in range(4)]
    kept = met(plans).kept.values()
    assert len({id(one.chunks) for one in kept if isinstance(one, TensorStorageMetadata)}) == 1


def test_pieces_that_make_no_whole_tensor_are_refused() -> None:
    with pytest.raises(RunError, match=r"the 2 pieces of weight that the ranks hold do not make .* shape \(8, 2\)"):
        met([[rows("weight", (8, 2), 0, 2)], [rows("weight", (8, 2), 1, 4)]])


def test_ranks_that_do_not_agree_about_a_shape_are_refused() -> None:
    with pytest.raises(RunError, match="ranks do not agree about weight"):
        met([[whole("weight", (8,))], [whole("weight", (9,))]])
