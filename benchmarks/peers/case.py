"""One task of one peer, in a process of its own: prepare the peer's format, or read and measure.

A peer's file gives three functions. `prepare` writes its format to the server, `load` imports its libraries outside
the clock, and `read` gives a `Reading`, whose making belongs to the time to the first batch. The clock, the count of
processor time, the check of what was read, and the resumption are here and the same for all.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import pickle
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from benchmarks.tokens import LENGTH, SEQUENCES, Ids, Tokens, last_token, open_tokens

if TYPE_CHECKING:
    import torch

BUCKET = "tokens"
BATCHES_AFTER_STATE = 4


@dataclass(frozen=True)
class Task:
    """What this process is to do, in which folder."""

    name: str
    work: Path
    cache: Path
    result: Path
    workers: int = 0
    save_after: int = 0
    """Take the state after this many batches, and end soon after."""
    resume: bool = False
    saved: Path = Path()

    def tokens(self) -> Tokens:
        return open_tokens(self.work / "tokens.bin")

    def formats(self, name: str, write: Callable[[Path], None]) -> Path:
        """The folder with a format's files, which `write` fills the first time."""
        folder = self.work / "formats" / name
        if not (folder.parent / f"{name}.done").exists():
            folder.mkdir(parents=True, exist_ok=True)
            write(folder)
            (folder.parent / f"{name}.done").touch()
        return folder


@dataclass(frozen=True)
class Reading:
    """Batches of int64 [32, 2048], and how to take the reader's state between two of them, where it has any."""

    batches: Iterable[torch.Tensor]
    state: Callable[[], Any] | None = None


Prepare = Callable[[Task], None]
Read = Callable[[Task, Any], Reading]
"""The second argument is the state to resume from, or None."""
Extra = Callable[[Task], dict[str, float]]


@dataclass
class _Seen:
    """The marks of what was read, copied while the clock runs and looked at after it."""

    heads: list[Tokens] = field(default_factory=list)
    tails: list[Tokens] = field(default_factory=list)
    shapes: set[tuple[tuple[int, ...], str]] = field(default_factory=set)

    def add(self, batch: torch.Tensor) -> None:
        array = batch.numpy()
        self.heads.append(array[:, :2].copy())
        self.tails.append(array[:, -1].copy())
        self.shapes.add((array.shape[1:], str(array.dtype)))

    def ids(self) -> list[Ids]:
        return [head[:, 0].astype(np.int64) | head[:, 1].astype(np.int64) << 16 for head in self.heads]


def main(
    *, prepare: Prepare, load: Callable[[], None], read: Read, libraries: tuple[str, ...], extras: Mapping[str, Extra]
) -> None:
    """Do the task of the command line and end this process with everything that it started."""
    task = _task()
    began = time.perf_counter()
    load()
    result: dict[str, Any] = {"import_s": time.perf_counter() - began}
    if task.name == "prepare":
        prepare(task)
    elif task.name in extras:
        result |= extras[task.name](task)
    else:
        result |= _measure(task, read)
    result["versions"] = {name: importlib.metadata.version(name) for name in libraries}
    task.result.write_text(json.dumps(result))
    _end()


def _task() -> Task:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    for folder in ("work", "cache", "result", "saved"):
        parser.add_argument(f"--{folder}", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--save-after", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    return Task(**vars(parser.parse_args()))


def _measure(task: Task, read: Read) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    saved = pickle.loads(task.saved.read_bytes()) if task.resume else {}
    memory_before, processor_before = peak_memory_bytes(), _processor_s()
    seen, first_batch_s, state = _Seen(), 0.0, b""
    began = time.perf_counter()
    reading = read(task, saved.get("state"))
    for number, batch in enumerate(reading.batches, 1):
        first_batch_s = first_batch_s or time.perf_counter() - began
        seen.add(batch)
        if number == task.save_after and reading.state:
            state = pickle.dumps(reading.state())
        if task.save_after and number == task.save_after + BATCHES_AFTER_STATE:
            break
    seconds = time.perf_counter() - began
    figures = {
        "seconds": seconds,
        "tokens_per_s": len(np.concatenate(seen.ids())) * LENGTH / seconds,
        "first_batch_s": first_batch_s,
        "processor_s": _processor_s() - processor_before,
        "peak_memory_bytes": peak_memory_bytes(),
        "memory_growth_bytes": peak_memory_bytes() - memory_before,
        **_check(seen, saved.get("ids", [])),
    }
    if task.resume:
        following = seen.ids()[:BATCHES_AFTER_STATE]
        figures["exact"] = [ids.tolist() for ids in following] == [ids.tolist() for ids in saved["following"]]
    if state:
        figures["state_bytes"] = len(state)
        ids = seen.ids()
        kept = {"ids": ids[: task.save_after], "following": ids[task.save_after :], "state": pickle.loads(state)}
        task.saved.write_bytes(pickle.dumps(kept))
    return figures


def _check(seen: _Seen, earlier: list[Ids]) -> dict[str, Any]:
    """How many sequences are missing, repeated and damaged, and how far apart neighbours are (1 is random)."""
    ids = np.concatenate(seen.ids())
    whole = (ids < SEQUENCES) & (np.concatenate(seen.tails) == last_token(ids))
    counts = np.bincount(np.concatenate([*earlier, ids[whole]]), minlength=SEQUENCES)
    steps = np.abs(np.diff(ids[whole])).mean() / (SEQUENCES / 3)
    return {
        "sequences": len(ids),
        "missing": int((counts == 0).sum()),
        "repeated": int((counts - 1).clip(min=0).sum()),
        "damaged": int((~whole).sum()),
        "shapes": sorted(str(shape) for shape in seen.shapes),
        "shuffle": round(float(steps), 3),
        "first_ids": ids[:4].tolist(),
    }


def _processor_s() -> float:
    """User and system time of this process and of all that it has started, ended or not."""
    seconds = 0.0
    for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(whose)
        seconds += used.ru_utime + used.ru_stime
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            seconds += sum(child.cpu_times()[:4])
    return seconds


def peak_memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _end() -> None:
    """At once: some peers wait for threads or workers when they end, which is measured by nobody."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    sys.stdout.flush()
    os._exit(0)


def store() -> Any:
    """The benchmark's bucket through obstore."""
    from obstore.store import S3Store

    return S3Store(
        BUCKET,
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )


def upload(folder: Path, prefix: str) -> None:
    """All files of a folder, under a prefix of the bucket."""
    import obstore

    bucket = store()
    for file in _files(folder):
        obstore.put(bucket, f"{prefix}/{file.relative_to(folder)}", file, use_multipart=False)


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file())


def to_tensor(sequences: list[Tokens]) -> torch.Tensor:
    """A batch from single sequences, as peers that know only samples have it made."""
    return as_int64(np.stack(sequences))


def as_int64(tokens: Any) -> torch.Tensor:
    """The batch that every reader must give, cast by PyTorch, which is several times faster at it than NumPy."""
    import torch

    return torch.from_numpy(tokens).to(torch.int64)
