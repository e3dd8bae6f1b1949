"""Sums a million rows of usage, in few large files and in many small ones, beside DuckDB on the same files.

    .venv/bin/python benchmarks/ledger.py

Makes the rows first. Each figure is the second of two calls in a process of its own, the best of some. Prints a table,
and as its last line everything as JSON. docs/guides/ledger.md has the figures.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path[0] = str(Path(__file__).parents[1])  # this file's folder has modules of names that are not meant

from benchmarks.machine import describe_machine
from tradewind.ledger import Ledger
from tradewind.ledger.columns import schema
from tradewind.ledger.files import source_key, to_parquet
from tradewind.storage import open_store

AXES = ("team", "run", "model", "endpoint", "cloud")
TARGET_S = 5.0
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
SHAPES = {"few": 10, "many": 10_000}
"""Files that the rows are in."""


def main() -> None:
    arguments = _arguments()
    if arguments.measure:
        print(json.dumps(measure(Path(arguments.measure), arguments.how)))
        return
    machine = describe_machine()
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        figures = dict(_figures(Path(work), arguments.rows, arguments.runs))
    for name, value in figures.items():
        print(f"{name:32} {value:8.2f}")
    result = {
        "targets": {
            "rows_1m_seconds_few_files": _target(figures["few_files_s"]),
            "rows_1m_seconds_many_files": _target(figures["many_files_compacted_s"]),
        },
        "figures": figures,
        "rows": arguments.rows,
        "files": SHAPES,
        "machine": {**machine, "load_after": describe_machine()["load"]},
        "versions": _versions(),
    }
    print(json.dumps(result))


def measure(workspace: Path, how: str) -> dict[str, Any]:
    """Seconds and processor seconds of the second of two calls, and the dollars that it found."""
    call = {"tradewind": _tradewind, "duckdb": _duckdb}[how]
    call(workspace)
    began, cpu = time.perf_counter(), time.process_time()
    usd = call(workspace)
    return {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu, "usd": usd}


def _tradewind(workspace: Path) -> float:
    return float(Ledger(open_store(str(workspace))).by(AXES).total["usd"])


def _duckdb(workspace: Path) -> float:
    """The same sums; it checks no checksums of pages, and fills no columns up."""
    import duckdb

    from tradewind.ledger.grouping import SUMS

    sums = ", ".join(f"sum({name}) AS {name}" for name in SUMS)
    files = f"{workspace}/ledger/usage/*/*.parquet"
    with duckdb.connect(config={"threads": 2}) as database:
        work = f"FROM '{files}' WHERE activity <> 'cluster'"
        query = f"SELECT {', '.join(AXES)}, min(energy_basis), {sums} {work} GROUP BY ALL"
        found = database.sql(query).arrow().read_all()
    return float(sum(found["usd"].to_pylist()))


def _figures(work: Path, rows: int, runs: int) -> Iterator[tuple[str, float]]:
    for shape, files in SHAPES.items():
        workspace = work / shape
        usd = _write(workspace, rows, files)
        yield from _best(f"{shape}_files", workspace, "tradewind", runs, usd)
        yield from _best(f"{shape}_files_duckdb", workspace, "duckdb", runs, usd)
        if shape == "many":
            began = time.perf_counter()
            Ledger(open_store(str(workspace))).compact()
            yield "many_files_compaction_s", time.perf_counter() - began
            yield from _best("many_files_compacted", workspace, "tradewind", runs, usd)
        shutil.rmtree(workspace)


def _write(workspace: Path, rows: int, files: int) -> float:
    """Make the rows, in files of ten days. Returns their dollars."""
    store, usd = open_store(str(workspace)), 0.0
    for number in range(files):
        table = _rows(number, rows // files, FIRST + timedelta(days=number % 10))
        usd += float(table["usd"].to_numpy().sum())
        store.put(source_key(f"{FIRST + timedelta(days=number % 10):%Y-%m-%d}", f"{number}.parquet"), to_parquet(table))
    return usd


def _rows(seed: int, count: int, day: datetime) -> pa.Table:
    """Rows of 200 endpoints and of 2,000 runs of 20 teams, each on one of 500 machines in 12 regions of 4 clouds."""
    draw = np.random.default_rng(seed)
    work = draw.integers(0, 2200, count)
    is_run, machine = work >= 200, draw.integers(0, 500, count)
    values: dict[str, Any] = {
        "team": _named("team-", work % 20),
        "run": np.where(is_run, _named("run-20260101-", work), ""),
        "model": np.where(is_run, "", _named("model@", work % 100)),
        "endpoint": np.where(is_run, "", _named("endpoint-", work)),
        "subject": np.where(is_run, _named("run:run-20260101-", work), _named("endpoint:endpoint-", work)),
        "activity": np.where(is_run, "training", "serving"),
        "machine": _named("node-", machine),
        "region": _named("region-", machine % 12),
        "cloud": _named("cloud-", machine % 4),
        "device": np.full(count, "H100"),
        "usage_id": [f"{seed:08x}{number:024x}" for number in range(count)],
        "created_at": np.datetime64(day.replace(tzinfo=None), "us") + draw.integers(0, 86_400_000_000, count),
        "energy_basis": np.full(count, "estimated"),
    }
    values["parents"] = [[subject] for subject in values["subject"]]
    return pa.table([_column(field, values, draw, count) for field in schema()], schema=schema())


def _named(word: str, numbers: Any) -> Any:
    return np.char.add(word, numbers.astype(str))


def _column(field: pa.Field, values: dict[str, Any], draw: np.random.Generator, count: int) -> pa.Array:
    if field.name in values:
        return pa.array(values[field.name]).cast(field.type)
    if field.type == pa.int64():
        return pa.array(draw.integers(0, 5000, count))
    if field.type == pa.float64():
        return pa.array(draw.random(count))
    return pa.nulls(count, field.type) if field.type != pa.string() else pa.array([""] * count)


def _best(name: str, workspace: Path, how: str, runs: int, usd: float) -> Iterator[tuple[str, float]]:
    """The fastest of some runs. Raises SystemExit when the sum is wrong."""
    command = [sys.executable, __file__, "--measure", str(workspace), "--how", how]
    found = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(runs)]
    if any(abs(one["usd"] / usd - 1) > 1e-9 for one in found):
        raise SystemExit(f"{how} finds {found} and not {usd} dollars")
    best = min(found, key=lambda one: float(one["seconds"]))
    yield f"{name}_s", best["seconds"]
    yield f"{name}_cpu_s", best["cpu_seconds"]


def _target(seconds: float) -> dict[str, Any]:
    return {"value": round(seconds, 3), "target": TARGET_S, "better": "lower"}


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("tradewind", "pyarrow", "duckdb")}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3, help="the best of so many counts")
    parser.add_argument("--work", type=Path, default=None, metavar="DIR", help="where the files are made")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--how", choices=("tradewind", "duckdb"), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
