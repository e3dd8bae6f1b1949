"""The first checkpoint of a run that is not here: who writes what of 405B parameters on up to 1,024 ranks.

Planning needs the names, shapes and cuts of the state and no numbers, so what each rank would bring to the meeting is
made here, one rank after the other, and rank 0's work is done with all of it. Torch's planner, which got the pieces of
all ranks, is measured beside it on fewer. What the network takes is not in it.
"""

from __future__ import annotations

import functools
import io
import json
import pickle
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

LAYERS, WIDTH, HIDDEN, VOCABULARY, KEYS = 126, 16384, 53248, 128256, 1024
"""Llama 3 405B (Grattafiori et al. 2024, table 3); keys and values of 8 heads of 128."""
KINDS = ("model", "optimizer.state.exp_avg", "optimizer.state.exp_avg_sq")
"""Tensors of the shape of each weight; beside them is a number of steps that all ranks hold."""


def weights() -> dict[str, tuple[int, ...]]:
    block = {
        "self_attn.q_proj.weight": (WIDTH, WIDTH),
        "self_attn.k_proj.weight": (KEYS, WIDTH),
        "self_attn.v_proj.weight": (KEYS, WIDTH),
        "self_attn.o_proj.weight": (WIDTH, WIDTH),
        "mlp.gate_proj.weight": (HIDDEN, WIDTH),
        "mlp.up_proj.weight": (HIDDEN, WIDTH),
        "mlp.down_proj.weight": (WIDTH, HIDDEN),
        "input_layernorm.weight": (WIDTH,),
        "post_attention_layernorm.weight": (WIDTH,),
    }
    ends = {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "lm_head.weight": (VOCABULARY, WIDTH)}
    layers = {f"model.layers.{layer}.{name}": shape for layer in range(LAYERS) for name, shape in block.items()}
    return {**layers, **ends, "model.norm.weight": (WIDTH,)}


def measure_planning(ranks: tuple[int, ...], torchs: tuple[int, ...]) -> dict[str, list[dict[str, Any]]]:
    """Seconds of each part of the first call that grows with tensors or ranks, and of loading, for each world."""
    return {
        "ours": [_told(measure_ours(world)) for world in ranks],
        "torch": [_told(measure_torchs(world)) for world in torchs],
    }


def _told(found: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(found), flush=True)
    return found


def measure_ours(world: int) -> dict[str, Any]:
    from tradewind.training.checkpoint.contents import assembled, packed
    from tradewind.training.checkpoint.outline import bundled, outlined, written_by
    from tradewind.training.checkpoint.piece import Frames
    from tradewind.training.checkpoint.plan import laid_out

    frames, found = Frames(), Stopwatch()
    first = list(items_of(0, world))
    paths = {item.index.fqn: tuple(item.index.fqn.split(".")) for item in first}
    mine = found.time("each rank: bundles", lambda: bundled(first, paths))
    told = found.time("each rank: digests", lambda: [(bundle.digest, box) for bundle, box in mine])
    bundles = {digest: bundle for (digest, _), (bundle, _) in zip(told, mine, strict=True)}
    held = [[(digest, box_on(rank, world, bundles[digest])) for digest, _ in told] for rank in range(world)]
    assert held[0] == told
    sent = [pickle.dumps(one) for one in held]
    heard = found.time("rank 0: what all hold, unpickled", lambda: [pickle.loads(one) for one in sent])
    outline = found.time("rank 0: the outline", lambda: outlined(heard, bundles))
    shared = found.time("rank 0: the outline, pickled", lambda: pickle.dumps(outline))
    outline = found.time("each rank: the outline, unpickled", lambda: pickle.loads(shared))
    written = found.time("each rank: what it writes", lambda: list(written_by(0, first, outline)))
    sized = [(item, frames.size_of(_meta(item))) for item in written]
    files = found.time("each rank: its files", lambda: laid_out(sized, rank=0))
    parts, pieces = [], 0
    for rank in range(world):
        places = places_of(rank, world, files)
        pieces += len(places)
        watch = found if rank == 0 else Stopwatch()
        parts.append(watch.time("each rank: its places, packed", functools.partial(packed, places)))
    data = found.time("rank 0: the metadata", lambda: assembled(outline, parts))
    seconds = sum(found.seconds.values())
    loading = measure_loading(data, first, world)
    return {
        "ranks": world,
        "pieces": pieces,
        "metadata_bytes": len(data),
        "outline_bytes": len(shared),
        "part_bytes": len(parts[0]),
        "parts": found.seconds,
        "planning_s": seconds,
        **loading,
    }


def places_of(rank: int, world: int, files: Any) -> dict[Any, tuple[str, int, int]]:
    """Where a rank's pieces are: as rank 0's, but for its own rows, and without the numbers of steps."""
    from torch.distributed.checkpoint.metadata import MetadataIndex

    found = {}
    for number, file in enumerate(files):
        for piece in file.pieces:
            shape = tuple(piece.item.tensor_data.size)
            if shape or rank == 0:
                start = rows_of(rank, world, shape)[0] if shape else ()
                index = MetadataIndex(piece.item.index.fqn, start)
                found[index] = (f"__{rank}_{number}.distcp", piece.offset, piece.num_bytes)
    return found


def measure_loading(data: bytes, items: list[Any], world: int) -> dict[str, Any]:
    """What a rank reads of the metadata, and how long that takes: one of as many ranks, and one of half as many."""
    from tradewind.training.checkpoint import contents

    index_s, opened = _timed(lambda: contents._contents_of(data))
    assert opened._index
    index_bytes = contents.FOOTER.unpack(data[-contents.FOOTER.size :])[0]
    found: dict[str, Any] = {"index_s": index_s, "index_bytes": index_bytes}
    for name, readers in (("as many", world), ("half as many", world // 2)):
        opened = contents._contents_of(data)
        flat = {item.index.fqn: _cut(item, readers - 1, readers) for item in items}
        found[f"{name}, s"], _ = _timed(functools.partial(opened.of, flat))
        assert opened._index
        spans = [opened._index.parts[rank][0] for rank in opened._seen]
        found[f"{name}, bytes"] = sum(end - start for start, end in spans) + index_bytes
    return found


@dataclass(frozen=True)
class Cut:
    """A tensor of another rank, as far as reading looks at it."""

    shape: tuple[int, ...]
    own: list[Any]

    def __create_chunk_list__(self) -> list[Any]:
        return self.own

    def dim(self) -> int:
        return len(self.shape)


def measure_torchs(world: int) -> dict[str, Any]:
    """The same by torch's planner, as before: all pieces on rank 0, and their places joined there."""
    from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
    from torch.distributed.checkpoint.filesystem import _StorageInfo
    from torch.distributed.checkpoint.planner import SavePlan

    found = Stopwatch()
    sent = [pickle.dumps(SavePlan(list(items_of(rank, world)), planner_data={})) for rank in range(world)]
    plans = found.time("rank 0: all plans, unpickled", lambda: [pickle.loads(one) for one in sent])
    planner = DefaultSavePlanner()
    decided, metadata = found.time("rank 0: torch's planner", lambda: planner.create_global_plan(plans))
    found.time("rank 0: plans, pickled again", lambda: [pickle.dumps(plan) for plan in decided])
    metadata.storage_data = found.time(
        "rank 0: places",
        lambda: {item.index: _StorageInfo("__0_0.distcp", 0, 1) for plan in decided for item in plan.items},
    )
    data = found.time("rank 0: the metadata", lambda: pickle.dumps(metadata))
    read_s, _ = _timed(lambda: pickle.load(io.BytesIO(data)))
    return {
        "ranks": world,
        "pieces": len(metadata.storage_data),
        "metadata_bytes": len(data),
        "compressed_bytes": len(zlib.compress(data, 1)),
        "parts": found.seconds,
        "planning_s": sum(found.seconds.values()),
        "read_s": read_s,
    }


class Stopwatch:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, name: str, work: Callable[[], Any]) -> Any:
        self.seconds[name], made = _timed(work)
        return made


def items_of(rank: int, world: int) -> Iterator[Any]:
    """What torch's plan for a rank alone has: FSDP's rows of every tensor, and the numbers of steps."""
    import torch
    from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
    from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType

    def item(name: str, shape: tuple[int, ...], box: Any, kind: WriteItemType) -> WriteItem:
        start, size = (torch.Size(one) for one in box)
        data = TensorWriteData(ChunkStorageMetadata(start, size), TensorProperties(torch.float32), torch.Size(shape))
        return WriteItem(MetadataIndex(name, start), kind, tensor_data=data)

    for name, shape in weights().items():
        for kind in KINDS:
            yield item(f"{kind}.{name}", shape, rows_of(rank, world, shape), WriteItemType.SHARD)
        yield item(f"optimizer.state.step.{name}", (), ((), ()), WriteItemType.TENSOR)


def rows_of(rank: int, world: int, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where a rank's rows begin and how many they are, as `torch.chunk` has it."""
    each = -(-shape[0] // world)
    start = min(rank * each, shape[0])
    rest = (0,) * (len(shape) - 1)
    return (start, *rest), (min(each, shape[0] - start), *shape[1:])


def box_on(rank: int, world: int, bundle: Any) -> Any:
    return rows_of(rank, world, bundle.shape) if bundle.shape else ((), ())


def _cut(item: Any, rank: int, world: int) -> Cut:
    from torch.distributed.checkpoint.metadata import ChunkStorageMetadata

    shape = tuple(item.tensor_data.size)
    start, size = rows_of(rank, world, shape) if shape else ((), ())
    return Cut(shape, [ChunkStorageMetadata(start, size)])  # type: ignore[arg-type]


def _meta(item: Any) -> Any:
    import torch

    return torch.empty(tuple(item.tensor_data.chunk.sizes), dtype=torch.float32, device="meta")


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    made = work()
    return time.perf_counter() - began, made
