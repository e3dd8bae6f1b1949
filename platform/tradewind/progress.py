"""Progress of long work: a bar in a terminal or notebook, one line at the end elsewhere. All on standard error."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tradewind.units import format_seconds

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


class Bar:
    """How far one piece of work is. `note` stands behind the bar: the current loss, the file count."""

    def __init__(self, shown: Progress | None = None, task: TaskID | None = None) -> None:
        self.note = ""
        self._shown = shown
        self._task = task

    def advance(self, amount: float = 1, note: str | None = None) -> None:
        """Add to what is done."""
        self.note = self.note if note is None else note
        if self._shown is not None and self._task is not None:
            self._shown.update(self._task, advance=amount, note=self.note)

    def reach(self, done: float, *, total: float | None = None, note: str | None = None) -> None:
        """Say what is done in all, and a new total when it has become known."""
        self.note = self.note if note is None else note
        if self._shown is not None and self._task is not None:
            self._shown.update(self._task, completed=done, total=total, note=self.note)


@contextmanager
def track(title: str, *, total: float | None = None) -> Iterator[Bar]:
    """Show a piece of work while the block runs. Without a total the bar only shows that something moves."""
    from rich.console import Console

    console = Console(stderr=True)
    began = time.monotonic()
    if not _can_draw(console):
        bar = Bar()
        yield bar
        print_line(f"{title}: {format_seconds(time.monotonic() - began)}{', ' + bar.note if bar.note else ''}")
        return
    with _live(console) as progress:
        task = progress.add_task(title, total=total, note="")
        bar = Bar(progress, task)
        yield bar
        finished = progress.tasks[0].total or 1
        progress.update(task, completed=finished, total=finished, note=bar.note)


def print_line(text: str) -> None:
    """A line of plain text on standard error, above any bar."""
    from rich.console import Console

    Console(stderr=True, soft_wrap=True, highlight=False).print(text, markup=False, emoji=False)


def _can_draw(console: Console) -> bool:
    """Terminals can, and notebooks that have the widgets which rich draws with."""
    if console.is_jupyter:
        return importlib.util.find_spec("ipywidgets") is not None
    return console.is_terminal


def _live(console: Console) -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    return Progress(
        TextColumn("{task.description:<15}", markup=False),
        BarColumn(bar_width=16),
        TimeElapsedColumn(table_column=Column(min_width=7)),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
        console=console,
    )
