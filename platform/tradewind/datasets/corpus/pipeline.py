"""Where the work on groups is done: one after the other in this process, or as a Ray Data job.

Both call the same function on the same groups, so they write the same bytes. In this process the tokenizer uses all
processors by itself; on Ray each task has one.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import pickle
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, TypeVar

from tradewind.datasets.corpus.scanning import Advance
from tradewind.errors import CapacityError, RunError, SpecError, TradewindError

Where = Literal["local", "ray"]

LOCAL_BYTES = 512 * 2**20
"""Up to this much text is read in this process. Two processors tokenize 3 to 7 MB/s here as well as on a Ray of their
own, which costs some 5 s more to start: so what is lost by a kill is minutes. More is worth a cluster and records."""


class Task(Protocol):
    @property
    def number(self) -> int: ...

    @property
    def num_bytes(self) -> int: ...


class Session(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=Task)
R = TypeVar("R")
T_contra = TypeVar("T_contra", bound=Task, contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class Work(Protocol[T_contra, R_co]):
    """What is done with a task. It records its result itself, so that this outlives whoever asked for it."""

    @property
    def folder(self) -> str: ...

    def record_file(self, task: T_contra, /) -> str: ...

    def __call__(self, task: T_contra, advance: Advance, /) -> R_co: ...


class Runner(Protocol):
    """Does some work on tasks, and gives each result with the number of its task as it is finished, in any order."""

    def run(self, work: Work[T, R], tasks: Sequence[T], advance: Advance) -> Iterator[tuple[int, R]]: ...


def choose(wanted: Where | None, num_bytes: int) -> Where:
    """Where a corpus of some size is read. Raises SpecError when that is Ray and there is none."""
    where: Where = wanted or ("local" if num_bytes <= LOCAL_BYTES else "ray")
    if where == "ray" and importlib.util.find_spec("ray") is None:
        raise SpecError(
            "so much text is read as a Ray job, and ray is not installed",
            hint="pip install 'tradewind[train]', or ask for it here: --on local",
        )
    return where


class Here:
    """This process."""

    def run(self, work: Work[T, R], tasks: Sequence[T], advance: Advance) -> Iterator[tuple[int, R]]:
        for task in tasks:
            share = _Share(task.num_bytes, advance)
            result = work(task, share)
            share.end()
            yield task.number, result


class OnRay:
    """A Ray Data job on the Ray that this process is connected to. `tasks` is how many run at once, at most."""

    def __init__(self, tasks: int | None = None) -> None:
        self.tasks = tasks

    def run(self, work: Work[T, R], tasks: Sequence[T], advance: Advance) -> Iterator[tuple[int, R]]:
        import ray.data
        import ray.exceptions

        if not tasks:
            return
        sizes = {task.number: task.num_bytes for task in tasks}
        items = [{"task": pickle.dumps(task)} for task in tasks]
        with _quiet():
            results = ray.data.from_items(items, override_num_blocks=len(items)).map(
                partial(_done, work=pickle.dumps(work)), num_cpus=1, concurrency=self.tasks
            )
            try:
                for row in results.iter_rows():
                    number, outcome = pickle.loads(row["done"])  # noqa: S301 - our own, from our own Ray
                    if isinstance(outcome, TradewindError):
                        raise outcome
                    advance(sizes[number])
                    yield number, outcome
            except ray.exceptions.OutOfMemoryError as exc:
                raise CapacityError("the tasks of the Ray job need more memory than there is") from exc
            except ray.exceptions.RayError as exc:
                first = str(exc).strip().partition("\n")[0] or type(exc).__name__
                raise RunError(f"the Ray job failed: {first}", hint="the same command goes on where it was") from exc


@dataclass
class _Share:
    """A task's share of the progress: never more than the task was guessed to be, and all of it in the end."""

    left: int
    advance: Advance

    def __call__(self, num_bytes: int) -> None:
        step = min(num_bytes, self.left)
        self.left -= step
        self.advance(step)

    def end(self) -> None:
        self(self.left)


def _done(row: dict[str, Any], *, work: bytes) -> dict[str, Any]:
    """One task in a worker. What went wrong is a result, so that it arrives as it was raised."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    task = pickle.loads(row["task"])  # noqa: S301 - our own, from our own Ray
    do = pickle.loads(work)  # noqa: S301
    outcome: object
    try:
        outcome = do(task, lambda _: None)
    except TradewindError as exc:
        outcome = exc
    except Exception as exc:  # noqa: BLE001 - the edge of a process, where the cause would be lost
        traceback.print_exc()
        outcome = RunError(
            f"a task of the Ray job failed: {type(exc).__name__}: {exc}", hint="see the log of its worker"
        )
    return {"done": pickle.dumps((task.number, outcome))}


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray Data without its own bars and messages on the terminal."""
    import ray.data

    log = logging.getLogger("ray.data")
    level = log.level
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    log.setLevel(logging.ERROR)
    try:
        with ray.data.DataContext.current(context):
            yield
    finally:
        log.setLevel(level)
