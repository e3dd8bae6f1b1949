"""`tw usage`: what was used and what it cost."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer

from tradewind.cli.output import Json, Where, as_json, table
from tradewind.errors import SpecError
from tradewind.records import Usage, now
from tradewind.units import format_bytes, format_count, format_usd, parse_seconds

TITLE = "ledger: tokens seen and served, bytes moved, seconds, energy (estimated) and dollars"
COLUMNS = ("activity", "for", "seen", "tokens/s", "served", "bytes", "seconds", "est. Wh", "dollars")


def usage(
    since: Annotated[
        str | None, typer.Option("--since", help="How far back, like 7d or 12h; default everything.")
    ] = None,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """The ledger: what was used, and what it cost."""
    from tradewind.workspace import Workspace

    rows = Workspace(workspace).usage(since=_ago(since) if since else None)
    if json:
        as_json(rows)
    else:
        usage_table(rows)


def usage_table(rows: list[Usage]) -> None:
    """Print rows of the ledger, summed by subject, with a total."""
    from tradewind.reports import usage_rows

    cells = [
        (row.activity, row.subject.partition(":")[2], format_count(row.tokens_seen) if row.tokens_seen else None,
         format_count(row.tokens_per_s) if row.tokens_per_s else None,
         format_count(row.tokens_served) if row.tokens_served else None,
         format_bytes(row.num_bytes) if row.num_bytes else None,
         f"{row.seconds:.1f}", f"{row.energy_wh:.2g}", format_usd(row.usd))
        for row in (usage_rows(rows) if rows else [])
    ]  # fmt: skip
    table(TITLE, COLUMNS, cells, empty="nothing was used yet")


def _ago(text: str) -> datetime:
    try:
        return now() - timedelta(seconds=parse_seconds(text))
    except ValueError as exc:
        raise SpecError(f"--since: {exc}") from exc
    except OverflowError as exc:
        raise SpecError(f"--since: {text} ago is before the calendar begins") from exc
