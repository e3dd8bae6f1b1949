"""One pass over all groups: what was finished before is taken, the rest is worked on, and a bar says how far it is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from tradewind import progress
from tradewind.datasets.corpus.encoding import Encoded
from tradewind.datasets.corpus.pipeline import Runner, T, Task, Work
from tradewind.datasets.corpus.scanning import Scan
from tradewind.datasets.corpus.scratch import Scratch
from tradewind.units import format_count

F = TypeVar("F", Scan, Encoded)


@dataclass(frozen=True)
class Stage:
    """Where work is done, and where its records are."""

    scratch: Scratch
    runner: Runner

    def finish(self, work: Work[T, F], tasks: Sequence[T], kind: type[F], pace: Pace) -> list[F]:
        """The results of all tasks, in their order. Only tasks without a record are worked on."""
        recorded = self.scratch.finished(work.folder)
        names = {task.number: work.record_file(task) for task in tasks}
        results = {
            number: kind.model_validate_json(recorded[name]) for number, name in names.items() if name in recorded
        }
        if results:
            progress.print_line(f"{pace.title}: {len(results)} of {len(tasks)} groups were done before")
        for task in tasks:
            if task.number in results:
                pace.skip(task.num_bytes, results[task.number])
        missing = [task for task in tasks if task.number not in results]
        for number, result in self.runner.run(work, missing, pace.advance):
            results[number] = result
            pace.count(result)
        return [results[task.number] for task in tasks]


class Pace:
    """A bar that also says how many documents and tokens there are, and how fast they come."""

    def __init__(self, title: str, bar: progress.Bar) -> None:
        self.title = title
        self._bar = bar
        self._documents = self._tokens = self._bytes = 0
        self._began = time.monotonic()

    def advance(self, num_bytes: int) -> None:
        self._bar.advance(num_bytes)

    def skip(self, num_bytes: int, result: Scan | Encoded) -> None:
        """A result of an earlier call, which says nothing of the speed of this one."""
        self._documents += result.documents
        self._tokens += result.tokens
        self._bar.advance(num_bytes, note=self._note())

    def count(self, result: Scan | Encoded) -> None:
        self._documents += result.documents
        self._tokens += result.tokens
        self._bytes += result.text_bytes
        self._bar.advance(0, note=self._note())

    def _note(self) -> str:
        rate = self._bytes / 1e6 / max(1e-3, time.monotonic() - self._began)
        tokens = [f"{format_count(self._tokens)} tokens"] if self._tokens else []
        return ", ".join([f"{format_count(self._documents)} documents", *tokens, f"{rate:.1f} MB/s"])


@contextmanager
def track(title: str, tasks: Sequence[Task]) -> Iterator[Pace]:
    """Show how far the work on some tasks is, while the block runs."""
    with progress.track(title, total=sum(task.num_bytes for task in tasks)) as bar:
        yield Pace(title, bar)
