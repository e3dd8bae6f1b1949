"""A run that loses workers, beside the same loss of plain Ray Train; and what the loop costs without any.

    .venv/bin/python benchmarks/recovery.py [--parts kills,notice,overhead] [--kills 3]

`kills`: a worker of two ends by SIGKILL; seconds until the next new step, and steps that were made for nothing.
`notice`: a node is drained and taken away 15 s later, with a spare node there; steps that were made for nothing.
`overhead`: of the loop's time inside Ray Train, the share that is not in steps; seconds of a step of it, of a bare
torch loop, and of plain Ray Train with a report at each step.
All with the same model, data shape, optimizer and processors. The last line is everything as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import json
import logging
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

sys.path[0] = str(Path(__file__).parents[1])  # this file's folder has modules of names that are not meant

import tradewind as tw
from benchmarks.machine import describe_machine
from tradewind.training import Run
from tradewind.training.driving import fit, work
from tradewind.training.job import Job

TARGETS: dict[str, tuple[float, Callable[[dict[str, Any]], float]]] = {
    "kill_to_step_s": (4.5, lambda found: statistics.median(one["kill_to_step_s"] for one in found["kills"]["ours"])),
    "notice_lost_steps": (0, lambda found: found["notice"]["ours"]["lost_steps"]),
    "over_bare": (0.03, lambda found: found["overhead"]["ours_step_s"] / found["overhead"]["bare_step_s"] - 1),
}
"""What each should be at most, and where it is found."""
PART_OF = {"kill_to_step_s": "kills", "notice_lost_steps": "notice", "over_bare": "overhead"}
EVERY_STEPS, STEP_S, DEADLINE_S = 10, 0.1, 15.0
"""Plain Ray Train checkpoints each tenth step; ours by time, which is as often."""
SETTLE_S = 30.0
"""Between kills: what was used up is made ready again."""
SETTLED_STEPS = 200
"""While a run is younger, spare processes load beside it."""
SHAPE: dict[str, Any] = {"hidden": 128, "layers": 4, "heads": 4, "tied": False}
BATCH = {"sequences": 8, "tokens_per_sequence": 64}


@dataclass(frozen=True)
class Event:
    at: float
    pid: int
    attempt: str
    step: int


class Timeline:
    """When each process made which step: lines of a file, in the order of time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def events(self) -> list[Event]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        parts = (line.split() for line in lines if line.count(" ") == 3)
        return sorted((Event(float(a), int(b), c, int(d)) for a, b, c, d in parts), key=lambda event: event.at)

    def wait(self, enough: Callable[[list[Event]], bool], timeout_s: float = 180.0) -> list[Event]:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if enough(events := self.events()):
                return events
            time.sleep(0.05)
        raise TimeoutError(f"{self.path}: {len(self.events())} steps, and not what was waited for")


def tell(path: str, attempt: str, step: int) -> None:
    with Path(path).open("a") as file:
        file.write(f"{time.time():.3f} {os.getpid()} {attempt} {step}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="kills,notice,overhead")
    parser.add_argument("--kills", type=int, default=3)
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    results: dict[str, Any] = {"machine": describe_machine(), "versions": _versions()}
    with tempfile.TemporaryDirectory(prefix="tw-recovery-") as folder:
        for part in arguments.parts.split(","):
            results[part] = PARTS[part](Path(folder), arguments.kills)
            print(part, json.dumps(results[part], indent=1), flush=True)
    results["load_after"] = describe_machine()["load"]
    results["targets"] = {
        name: {"value": found(results), "target": target, "better": "lower"}
        for name, (target, found) in TARGETS.items()
        if PART_OF[name] in results
    }
    print(json.dumps(results))


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("tradewind", "ray", "torch")}


# Kills


def kills(folder: Path, count: int) -> dict[str, Any]:
    both = {"ours": _our_kills, "plain": _plain_kills}
    return {name: _in_new_process(work, folder / name, count) for name, work in both.items()}


def _our_kills(folder: Path, count: int) -> list[dict[str, float]]:
    with tw.Workspace(str(folder / "workspace")) as workspace:
        _add_dataset(workspace)
        stop = _start_ours(workspace, folder, max_steps=10**6)
        return _kill_often(stop, Timeline(folder / "steps"), count)


def _plain_kills(folder: Path, count: int) -> list[dict[str, float]]:
    with _ray(num_cpus=2):
        stop = _start_plain(folder, workers=2)
        return _kill_often(stop, Timeline(folder / "steps"), count)


def _kill_often(stop: Callable[[], None], timeline: Timeline, count: int) -> list[dict[str, float]]:
    found = []
    timeline.wait(lambda events: len(events) > 2)
    for number in range(count):
        time.sleep(SETTLE_S + 0.37 * number)  # at another moment between two checkpoints each time
        found.append(_kill_one(timeline))
        print(timeline.path.parent.name, found[-1], "load", describe_machine()["load"], flush=True)
    stop()
    return found


def _kill_one(timeline: Timeline) -> dict[str, float]:
    last = timeline.events()[-1]
    killed_at = time.time()
    os.kill(last.pid, signal.SIGKILL)
    events = timeline.wait(lambda events: any(event.attempt not in _known(events, killed_at) for event in events))
    before = [event for event in events if event.attempt == last.attempt]
    first = next(event for event in events if event.attempt not in _known(events, killed_at))
    return {
        "kill_to_step_s": round(first.at - killed_at, 2),
        "lost_steps": max(event.step for event in before) - first.step + 1,
    }


def _known(events: list[Event], moment: float) -> set[str]:
    return {event.attempt for event in events if event.at <= moment}


# Notice


def notice(folder: Path, count: int) -> dict[str, Any]:
    return {name: _in_new_process(_drained, folder / f"notice-{name}", name) for name in ("ours", "plain")}


def _drained(folder: Path, name: str) -> dict[str, float]:
    """A node of two that train is drained, and gone 15 s later; a third is there."""
    ray: Any = importlib.import_module("ray")
    raylet: Any = importlib.import_module("ray._raylet")
    messages: Any = importlib.import_module("ray.core.generated.autoscaler_pb2")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    workers = {node.node_id: node for node in (cluster.add_node(num_cpus=1) for _ in range(3))}
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    timeline = Timeline(folder / "steps")
    if name == "ours":
        workspace = tw.Workspace(str(folder / "workspace"))
        _add_dataset(workspace)
        stop = _start_ours(workspace, folder, max_steps=10**6, checkpoint_every_s="1h")
    else:
        stop = _start_plain(folder, workers=2, heed=True)
    events = timeline.wait(lambda events: len(events) > 100)
    busy = next(node for node, used in _used().items() if used and node in workers)
    deadline = time.time() + DEADLINE_S
    raylet.GcsClient(address=cluster.address).drain_node(
        busy, messages.DRAIN_NODE_REASON_PREEMPTION, "benchmark", int(deadline * 1000)
    )
    time.sleep(max(0.0, deadline - time.time()))
    cluster.remove_node(workers[busy], allow_graceful=False)
    first_attempt = events[0].attempt
    events = timeline.wait(lambda events: sum(event.attempt != first_attempt for event in events) > 10)
    last = max(event.step for event in events if event.attempt == first_attempt)
    first = next(event for event in events if event.attempt != first_attempt)
    stop()
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]
    return {
        "lost_steps": last - first.step + 1,
        "drain_to_new_step_s": round(first.at - (deadline - DEADLINE_S), 2),
        "idle_s": round(first.at - max(e.at for e in events if e.attempt == first_attempt), 2),
    }


def _used() -> dict[str, float]:
    """Processors in use of each node."""
    state: Any = importlib.import_module("ray._private.state")
    total, free = state.total_resources_per_node(), state.available_resources_per_node()
    return {node: total[node].get("CPU", 0) - free[node].get("CPU", 0) for node in total}


# Overhead


def overhead(folder: Path, count: int) -> dict[str, Any]:
    ours, outside = _in_new_process(_our_steps, folder / "overhead", 500)
    bare = _in_new_process(_bare, folder / "bare", 100)
    plain = _in_new_process(_plain_reports, folder / "reports", 5)
    return {
        "outside_of_steps": round(outside, 4),
        "ours_step_s": round(ours, 5),
        "bare_step_s": round(bare, 5),
        "plain_report_each_step_s": round(plain, 5),
    }


def _our_steps(folder: Path, steps: int) -> tuple[float, float]:
    """Median seconds from step to step, and which part of that is spent outside of `Rank.step`."""
    with tw.Workspace(str(folder)) as workspace:
        _add_dataset(workspace)
        path = str(folder / "times")
        plain_fit = fit.fit
        vars(fit)["fit"] = lambda job, session: plain_fit(job, session, lambda config: _stopwatch(config, path))
        workspace.train(_spec(max_steps=steps, checkpoint_every_s="1h")).wait()
    times = [tuple(map(float, line.split())) for line in Path(path).read_text().splitlines()][SETTLED_STEPS:-1]
    whole = [after[0] - before[0] for before, after in itertools.pairwise(times)]
    inside = [end - begin for begin, end in times[:-1]]
    return median(whole), median(1 - part / of for part, of in zip(inside, whole, strict=True))


def _stopwatch(config: dict[str, Any], path: str) -> None:
    """A worker of which rank 0 notes when each step began and ended."""
    from tradewind.training.rank import Rank

    step = Rank.step

    def timed(self: Any, *arguments: Any) -> Any:
        began = time.perf_counter()
        made = step(self, *arguments)
        if self.leads:
            with Path(path).open("a") as file:
                file.write(f"{began} {time.perf_counter()}\n")
        return made

    Rank.step = timed  # type: ignore[method-assign, assignment]
    work.run_worker(config)


def _bare(folder: Path, steps: int) -> float:
    """Median seconds of a step of two processes with nothing but torch."""
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=_bare_rank, args=(rank, str(folder), steps)) for rank in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    return float((folder / "median").read_text())


def _bare_rank(rank: int, folder: str, steps: int) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    step = _plain_step(rank)
    took = []
    for _ in range(steps):
        began = time.perf_counter()
        step()
        took.append(time.perf_counter() - began)
    if rank == 0:
        (Path(folder) / "median").write_text(str(median(took[20:])))
    dist.barrier()


def _plain_reports(folder: Path, steps: int) -> float:
    with _ray(num_cpus=2):
        stop = _start_plain(folder, workers=2, report_each=True)
        events = Timeline(folder / "steps").wait(lambda events: max((e.step for e in events), default=0) > steps + 3)
        times = [event.at for event in events if event.pid == events[0].pid][3:]
        stop()
        return median(after - before for before, after in itertools.pairwise(times))


# Ours


def _spec(**changes: Any) -> tw.TrainSpec:
    values = {
        "name": "bench",
        "dataset": "shelf",
        "model": SHAPE,
        "batch": BATCH,
        "workers": 2,
        "max_failures": 100,
        "checkpoint_every_s": EVERY_STEPS * STEP_S,
    }
    return tw.TrainSpec.of(**(values | changes))


def _add_dataset(workspace: tw.Workspace) -> None:
    files = ["{stdlib}/json/*.py", "{stdlib}/email/*.py", "{stdlib}/http/*.py", "{stdlib}/logging/*.py"]
    workspace.datasets.add(
        tw.DatasetSpec.of(name="shelf", text={"files": files}, tokenizer={"vocabulary": 400}, heldout_fraction=0.02)
    )


def _start_ours(workspace: tw.Workspace, folder: Path, **changes: Any) -> Callable[[], None]:
    """Train with a timeline; what is given back stops it and waits."""
    path = str(folder / "steps")
    plain_fit = fit.fit

    def fit_with_timeline(job: Job, session: Any) -> None:
        plain_fit(job, session, lambda config: _timed_worker(config, path))

    vars(fit)["fit"] = fit_with_timeline  # the thread that drives the run looks it up when it begins
    run: Run = workspace.train(_spec(**changes))

    def stop() -> None:
        with contextlib.suppress(tw.TradewindError):
            run.stop()
            run.wait()

    return stop


def _timed_worker(config: dict[str, Any], path: str) -> None:
    from tradewind.training.metrics import MetricsWriter

    write = MetricsWriter.write

    def timed(self: Any, metrics: Any) -> None:
        tell(path, metrics.attempt, metrics.step)
        write(self, metrics)

    MetricsWriter.write = timed  # type: ignore[method-assign]
    work.run_worker(config)


# Plain Ray Train


def _start_plain(folder: Path, *, workers: int, heed: bool = False, report_each: bool = False) -> Callable[[], None]:
    import ray.train
    from ray.train.torch import TorchTrainer

    folder.mkdir(parents=True, exist_ok=True)
    options = {"path": str(folder / "steps"), "heed": heed, "report_each": report_each}
    trainer = TorchTrainer(
        plain_worker,
        train_loop_config=options,
        scaling_config=ray.train.ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1}),
        run_config=ray.train.RunConfig(
            name="plain", storage_path=str(folder), failure_config=ray.train.FailureConfig(max_failures=100)
        ),
    )

    def run() -> None:
        with contextlib.suppress(Exception):
            trainer.fit()

    threading.Thread(target=run, daemon=True).start()
    return lambda: None  # it ends with its Ray


def plain_worker(options: dict[str, Any]) -> None:
    """What the documentation of Ray Train shows: a step, and a reported checkpoint at each tenth."""
    import uuid

    import ray.train
    import torch

    rank, attempt = ray.train.get_context().get_world_rank(), [uuid.uuid4().hex[:8]]
    torch.distributed.broadcast_object_list(attempt)
    step = _plain_step(rank)
    done = _load(step, ray.train.get_checkpoint())
    while True:
        step()
        done += 1
        tell(options["path"], attempt[0], done)
        warned = options["heed"] and ray.train.get_preemption_info() is not None
        if options["report_each"]:
            ray.train.report({"loss": 0.0})
        elif done % EVERY_STEPS == 0 or warned:
            _report(step, rank, done)


def _plain_step(rank: int) -> Any:
    """A step of the same model on random tokens, sharded with FSDP2, with its state."""
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.nn.utils import clip_grad_norm_

    from tradewind.families import shape_of
    from tradewind.training.model import Decoder

    model = Decoder(shape_of(_spec().model, vocabulary=400, context=BATCH["tokens_per_sequence"]))
    model.initialize(0)
    fully_shard(model, mesh=init_device_mesh("cpu", (torch.distributed.get_world_size(),)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    draw = torch.Generator().manual_seed(rank)
    rows, time_ = BATCH["sequences"] // torch.distributed.get_world_size(), BATCH["tokens_per_sequence"] + 1

    def step() -> None:
        tokens = torch.randint(0, 400, (rows, time_), generator=draw)
        logits = model(tokens[:, :-1])
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    step.model, step.optimizer = model, optimizer  # type: ignore[attr-defined]
    return step


def _report(step: Any, rank: int, done: int) -> None:
    import ray.train
    import torch
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

    whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
    model, optimizer = get_state_dict(step.model, step.optimizer, options=whole)
    with tempfile.TemporaryDirectory() as folder:
        made = None
        if rank == 0:
            torch.save({"model": model, "optimizer": optimizer, "done": done}, f"{folder}/state.pt")
            made = ray.train.Checkpoint.from_directory(folder)
        ray.train.report({"step": done}, checkpoint=made)


def _load(step: Any, checkpoint: Any) -> int:
    import torch
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_state_dict

    if checkpoint is None:
        return 0
    with checkpoint.as_directory() as folder:
        state = torch.load(f"{folder}/state.pt", weights_only=False)
    whole = StateDictOptions(full_state_dict=True)
    set_state_dict(
        step.model, step.optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"], options=whole
    )
    return int(state["done"])


# Processes


@contextlib.contextmanager
def _ray(*, num_cpus: int) -> Iterator[None]:
    import ray

    with tempfile.TemporaryDirectory(prefix="tw-plain-", dir="/tmp") as folder:
        ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=folder,
        )
        yield
        ray.shutdown()


def _in_new_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """So that no Ray, no group and no module of one part is there in the next."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, work.__name__, arguments))
    process.start()
    theirs.close()
    try:
        return mine.recv()
    finally:
        process.join()


def _answer(pipe: Any, work: str, arguments: tuple[Any, ...]) -> None:
    """Ray's workers find what they run by the name of its module, which in this process is no name of a file."""
    os.environ["PYTHONPATH"] = sys.path[0]
    logging.disable(logging.INFO)
    pipe.send(getattr(importlib.import_module("benchmarks.recovery"), work)(*arguments))


PARTS: dict[str, Callable[[Path, int], dict[str, Any]]] = {"kills": kills, "notice": notice, "overhead": overhead}

if __name__ == "__main__":
    main()
