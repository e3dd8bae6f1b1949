"""What a rank does from its first line to the first step, phase by phase, as `training/worker.py` does it."""

from __future__ import annotations

import math
import multiprocessing
import os
import socket
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LIMIT_S = 500
BATCH = {"sequences": 8, "tokens_per_sequence": 32}
SPEC = {"name": "growth", "dataset": "shelf", "batch": BATCH, "precision": {"compute": "float32"}}
FORMED = "process group"


@dataclass(frozen=True)
class Case:
    ranks: int
    hidden: int
    layers: int


def measure_start(case: Case, folder: str) -> dict[str, Any]:
    """Seconds of each phase, of the slowest rank, in processes that are there and have loaded nothing."""
    answers = spawned(case.ranks, _start, folder, case)
    phases = {phase: max(one["phases"][phase] for one in answers) for phase in answers[0]["phases"]}
    return {**answers[0], "ranks": case.ranks, "hidden": case.hidden, "layers": case.layers, "phases": phases}


def measure_groups(ranks: int) -> dict[str, Any]:
    """The default group, and another over the hosts' network as a checkpointer makes two, with nothing else there."""
    answers = spawned(ranks, _groups)
    first = min(one.pop(FORMED) for one in answers)  # of who came last: the others have waited for it
    return {"ranks": ranks, FORMED: first} | {phase: max(one[phase] for one in answers) for phase in answers[0]}


def measure_mesh(world: int) -> dict[str, Any]:
    """The groups of a layout on one rank of `world`, all of them made but for their connections."""
    return spawned(1, _mesh, world)[0]  # type: ignore[no-any-return]


def add_data(folder: str) -> None:
    """A small dataset of Python's own modules."""
    from tradewind.datasets import Datasets
    from tradewind.specs import DatasetSpec
    from tradewind.storage import open_store

    files = ["{stdlib}/json/*.py", "{stdlib}/email/*.py"]
    spec = DatasetSpec.of(name="shelf", text={"files": files}, tokenizer={"vocabulary": 400}, heldout_fraction=0.02)
    Datasets(open_store(folder)).add(spec)


def _start(rank: int, world: int, place: str, folder: str, case: Case) -> dict[str, Any]:
    watch = Phases()
    with watch("imports"):
        import torch
        import torch.distributed as dist

        from tradewind.datasets import Reader
        from tradewind.families import shape_of
        from tradewind.specs import TrainSpec
        from tradewind.storage import open_store
        from tradewind.training import worker
        from tradewind.training.batch import passes_of
        from tradewind.training.build import build, first_weights
        from tradewind.training.checkpoint import Checkpointer, TrainingState, resume
        from tradewind.training.clock import Progress
        from tradewind.training.data import newest_versions, open_data
        from tradewind.training.device import this_device
        from tradewind.training.job import Job, layout_of
        from tradewind.training.parallel import Mesh
        from tradewind.training.rank import Rank
        from tradewind.training.run import RunFiles
        from tradewind.training.update import Update

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=place, rank=rank, world_size=world)
    watch.meet = dist.barrier
    model = {"hidden": case.hidden, "layers": case.layers, "heads": case.hidden // 64, "tied": False}
    spec, store = TrainSpec.of(**SPEC, model=model, workers=world), open_store(folder)
    shape = shape_of(spec.model, vocabulary=512, context=BATCH["tokens_per_sequence"])
    with watch("data opened"):
        versions = newest_versions(store, spec)
        data = open_data(store, spec, versions)
    job = Job(run=f"growth-{world}-{case.hidden}-{case.layers}", spec=spec, shape=shape, datasets=versions, store=store)
    with watch("mesh"):
        mesh = Mesh.of(layout_of(job, world), this_device())
    with watch("model on meta, cut, sharded"):
        decoder = build(job, mesh)
    with watch("optimizer"):
        update = Update.of(decoder, spec.optimizer)
        state = TrainingState(decoder.decoders, [update.optimizer], data_rank=mesh.data_rank)
        passes = passes_of(job, data, mesh.layout, mesh.device)
    files = RunFiles(store, job.run)
    mine = Rank(job, files, mesh, decoder, update, state, passes, None, None)
    with watch("no checkpoint found"):
        assert resume(files, state) is None
    with watch("weights drawn"):
        first_weights(job, decoder)
    with watch("checkpointer's groups"):
        checkpointer = Checkpointer(files, "abcd")
    reader = iter(Reader(data.batches, rank=mesh.data_rank, world=mesh.data_world, start=0))
    with watch("first batch"):
        batch = next(reader)
    with watch("first step"):
        mine.step(batch, 1e-3)
    with watch("second step"):
        mine.step(batch, 1e-3)
    with checkpointer:
        from tradewind.datasets import Certificate

        record = mine.record(Progress(step=1, attempt="abcd"), Certificate.start(data.batches), None)
        assert checkpointer.now(state.to_save(), record, deadline_s=300)
    with watch("checkpoint read"):
        assert resume(files, state) is not None
    reader.close()
    assert worker
    return {"phases": watch.seconds, **_sizes(decoder)}


def _sizes(model: Any) -> dict[str, int]:
    from tradewind.training.model.shards import local_part

    parameters = list(model.parameters())
    return {
        "parameters": sum(one.numel() for one in parameters),
        "parameters_here": sum(local_part(one)[0].numel() for one in parameters),
        "drawn_here": sum(drawn(tuple(one.shape), local_part(one)) for one in parameters),
        "weights": len(parameters),
    }


def drawn(shape: tuple[int, ...], part: Any) -> int:
    """Numbers that a rank draws for its part of a weight: whole blocks of rows (`training/model/initialization.py`)."""
    from tradewind.training.model.initialization import BLOCK_ELEMENTS

    local, begins = part
    if len(shape) < 2 or not math.prod(local.shape):
        return 0
    rows = max(1, BLOCK_ELEMENTS // math.prod(shape[1:]))
    first, end = begins[0], begins[0] + local.shape[0]
    return int((min(shape[0], -(-end // rows) * rows) - first // rows * rows) * math.prod(shape[1:]))


def _groups(rank: int, world: int, place: str) -> dict[str, float]:
    import torch.distributed as dist

    from tradewind.training.checkpoint.group import Group

    watch = Phases()
    with watch(FORMED):
        dist.init_process_group("gloo", init_method=place, rank=rank, world_size=world)
    watch.meet = dist.barrier
    dist.barrier()
    with watch("another group"):
        group = Group.new(timeout_s=60)
    with watch("its first collective"):
        group.all(True)
    for number in range(5):
        with watch(f"gathered {number}"):
            group.gather(b"x" * 20_000)
    gathered = min(watch.seconds.pop(f"gathered {number}") for number in range(5))
    return watch.seconds | {"20 kB of each gathered": gathered}


def _mesh(_: int, __: int, ___: str, world: int) -> dict[str, Any]:
    import torch
    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore

    from tradewind.training.parallel import Mesh
    from tradewind.training.parallel.layout import Layout

    dist.init_process_group("fake", rank=0, world_size=world, store=FakeStore())
    shape = _shape()
    found: dict[str, Any] = {"ranks": world}
    for name, axes in {"shard": {}, "tensor 8": {"tensor": 8}}.items():
        layout = Layout.of(world, shape=shape, tokens_per_sequence=8192, **axes)  # type: ignore[arg-type]
        began = time.perf_counter()
        Mesh.of(layout, torch.device("cpu"))
        found[name] = time.perf_counter() - began
    return found


def _shape() -> Any:
    from tradewind.families import shape_of
    from tradewind.specs import TrainSpec

    model = {"hidden": 16384, "layers": 126, "heads": 128, "tied": False}
    return shape_of(TrainSpec.of(**SPEC, model=model).model, vocabulary=128256, context=8192)


class Phases:
    """Seconds of each phase, which all ranks begin together."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.meet: Callable[[], Any] = lambda: None

    def __call__(self, name: str) -> Phases:
        self._name = name
        return self

    def __enter__(self) -> None:
        self.meet()
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds[self._name] = time.perf_counter() - self._began


def spawned(world: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `work(rank, world, place, *arguments)` gives in each of as many new processes. Raises TimeoutError."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with multiprocessing.get_context("spawn").Pool(world, initializer=_ready) as pool:
        calls = [(work, rank, world, place, *arguments) for rank in range(world)]
        return pool.starmap_async(_called, calls, chunksize=1).get(LIMIT_S)


def _ready() -> None:
    warnings.filterwarnings("ignore")
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"


def _called(work: Callable[..., Any], *arguments: Any) -> Any:
    found = work(*arguments)
    import torch.distributed as dist  # what the work takes to load, it loads itself

    if dist.get_backend() != "fake":
        dist.barrier()
    dist.destroy_process_group()
    return found
