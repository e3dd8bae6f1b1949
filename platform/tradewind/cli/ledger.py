"""`tw usage` and `tw usage compact`: what was used and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradewind.cli.output import Json, Where, as_json, table
from tradewind.errors import SpecError
from tradewind.records import Usage, now
from tradewind.units import format_bytes, format_count, format_usd, parse_seconds

if TYPE_CHECKING:
    from tradewind.ledger import UsageTable

app = typer.Typer()

TITLE = "ledger: tokens seen and served, bytes moved, seconds, energy (estimated) and dollars"
COLUMNS = ("activity", "for", "seen", "tokens/s", "served", "bytes", "seconds", "used", "productive", "est. Wh",
           "dollars")  # fmt: skip
SUMMED = ("requests", "tokens in", "tokens out", "bytes", "held h", "used", "not lost", "productive", "Wh", "dollars")
"""Held are device-hours; used is a part of held, not lost one of used, productive one of held."""


@app.callback(invoke_without_command=True)
def usage(
    context: typer.Context,
    since: Annotated[
        str | None, typer.Option("--since", help="How far back, like 7d or 12h; default everything.")
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="AXES", help="Sum by these, like team,model or day,cloud.")
    ] = None,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """The ledger: what was used, and what it cost."""
    if context.invoked_subcommand:
        return
    from tradewind.workspace import Workspace

    place, first = Workspace(workspace), _ago(since) if since else None
    if by is not None:
        _summed(place.usage(since=first, by=[axis.strip() for axis in by.split(",")]), json=json)
        return
    rows = place.usage(since=first)
    if json:
        as_json(rows)
    else:
        usage_table(rows)


@app.command()
def compact(workspace: Where = None, json: Json = False) -> None:
    """Put the many small files of a day into one, so that the ledger is read faster. Safe at any time."""
    from tradewind.workspace import Workspace

    done = Workspace(workspace).ledger.compact()
    if json:
        as_json(vars(done))
        return
    typer.echo(f"{done.files} small files became {done.days}, {done.deleted} old ones were deleted")


def usage_table(rows: list[Usage]) -> None:
    """Print rows of the ledger, summed by subject, with a total."""
    from tradewind.reports import usage_rows

    cells = [
        (row.activity, row.subject.partition(":")[2], format_count(row.tokens_seen) if row.tokens_seen else None,
         format_count(row.tokens_per_s) if row.tokens_per_s else None,
         format_count(row.tokens_served) if row.tokens_served else None,
         format_bytes(row.num_bytes) if row.num_bytes else None,
         f"{row.seconds:.1f}", _share(row.used_share), _share(row.productive_share), f"{row.energy_wh:.2g}",
         format_usd(row.usd))
        for row in (usage_rows(rows) if rows else [])
    ]  # fmt: skip
    table(TITLE, COLUMNS, cells, empty="nothing was used yet")


def _summed(sums: UsageTable, *, json: bool) -> None:
    if json:
        as_json([*map(_plain, sums.rows()), _plain({**dict.fromkeys(sums.axes), **sums.total}) | {"total": True}])
        return
    rows = [[*(row[axis] or None for axis in sums.axes), *_cells(row)] for row in sums]
    rows.append([*["total", *[""] * len(sums.axes)][: len(sums.axes)], *_cells(sums.total)])
    energy = "measured" if sums.total["energy_basis"] == "measured" else "estimated"
    title = f"usage by {', '.join(sums.axes)}; energy is {energy}"
    table(title, (*sums.axes, *SUMMED), rows if len(sums) else [], empty="nothing was used")


def _cells(row: Mapping[str, Any]) -> list[str | None]:
    return [
        format_count(row["requests"]) if row["requests"] else None,
        format_count(row["tokens_in"]) if row["tokens_in"] else None,
        format_count(row["tokens_out"]) if row["tokens_out"] else None,
        format_bytes(row["num_bytes"]) if row["num_bytes"] else None,
        f"{row['allocated_s'] / 3600:.3g}",
        _share(row["used_of_allocated"]),
        _share(row["productive_of_used"]),
        _share(row["productive_of_allocated"]),
        f"{row['energy_wh']:,.0f}" if row["energy_wh"] >= 100 else f"{row['energy_wh']:.3g}",
        format_usd(row["usd"]),
    ]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) if name == "day" and value else value for name, value in row.items()}


def _share(part: float | None) -> str | None:
    return None if part is None else f"{part:.0%}"


def _ago(text: str) -> datetime:
    try:
        return now() - timedelta(seconds=parse_seconds(text))
    except ValueError as exc:
        raise SpecError(f"--since: {exc}") from exc
    except OverflowError as exc:
        raise SpecError(f"--since: {text} ago is before the calendar begins") from exc
