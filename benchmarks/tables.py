"""The comparison for people: one table of speed, one of everything else, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.scores import MTOK, Cases, Runs, wrong_checks
from benchmarks.tokens import TOKENS

Format = Callable[[float], str]
Column = tuple[str, str, str, Format]
"""Heading, case, figure, and how a value is written."""


def _speed(value: float) -> str:
    return f"{value / MTOK:.0f}" if value >= 10 * MTOK else f"{value / MTOK:.1f}"


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _mib(value: float) -> str:
    return f"{value / 2**20:.0f}"


SPEED: tuple[Column, ...] = (
    ("cold Mtok/s", "cold", "tokens_per_s", _speed),
    ("warm Mtok/s", "warm", "tokens_per_s", _speed),
    ("cold, 2 workers", "cold_workers", "tokens_per_s", _speed),
    ("warm, 2 workers", "warm_workers", "tokens_per_s", _speed),
    ("first batch cold s", "cold", "first_batch_s", _seconds),
    ("first batch resumed s", "resume", "first_batch_s", _seconds),
)
REST: tuple[Column, ...] = (
    ("processor s / 100 Mtok", "cold", "processor_s", lambda value: f"{value / TOKENS * 100e6:.2f}"),
    ("state B", "save", "state_bytes", lambda value: f"{value:.0f}"),
    ("peak MiB", "cold", "peak_memory_bytes", _mib),
    ("of that while reading", "cold", "memory_growth_bytes", _mib),
    ("import s", "cold", "import_s", _seconds),
    ("shuffle", "cold", "shuffle", lambda value: f"{value:.2f}"),
)


def print_tables(runs: Runs, limits: Sequence[str]) -> None:
    """The median of each figure with its range, where there was more than one run."""
    console = Console(width=150)
    for title, columns in (("Speed", SPEED), ("Beside it", REST)):
        table = Table("", *(heading for heading, *_ in columns), title=title)
        for peer, cases in runs.items():
            name = f"{peer} (limit)" if peer in limits else peer
            table.add_row(name, *(_cell(cases, column) for column in columns))
        console.print(table)
    for line in _complaints(runs):
        console.print(line, markup=False)


def _cell(cases: Cases, column: Column) -> str:
    _, case, figure, write = column
    of_case = cases.get(case, ())
    values = [float(run[figure]) for run in of_case if figure in run]
    if not values:
        return "failed" if any("error" in run for run in of_case) else "-"
    marks = "" if case != "resume" or all(run.get("exact") for run in of_case) else " not exact"
    low, high = write(min(values)), write(max(values))
    return write(median(values)) + (f" ({low}–{high})" if low != high else "") + marks


def _complaints(runs: Runs) -> list[str]:
    """Errors, and sequences that were lost, repeated or damaged."""
    lines = []
    for peer, cases in runs.items():
        for case, of_case in cases.items():
            lines += [f"{peer} {case}: {run['error']}" for run in of_case if "error" in run]
            for run in of_case:
                wrong = [f"{run[check]} {check}" for check in wrong_checks(run, case)]
                lines += [f"{peer} {case}: {', '.join(wrong)} sequences"] if wrong else []
    return list(dict.fromkeys(lines))
