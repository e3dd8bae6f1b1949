"""`tw budgets`: what teams may spend."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradewind.cli.output import Json, Where, as_json, table
from tradewind.units import format_usd

if TYPE_CHECKING:
    from tradewind.ledger import Budget

app = typer.Typer(no_args_is_help=True, help="What teams may spend; work that does not fit is not started.")
Team = Annotated[str, typer.Option("--team", help="Whose: what TRADEWIND_TEAM is where the work is started.")]


@app.command("set")
def set_budget(
    team: Team,
    usd: Annotated[float, typer.Option("--usd", help="Dollars.")],
    per: Annotated[str, typer.Option("--per", help="day, week, month or total; in UTC.")] = "month",
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Let a team spend so much. What it has at work already counts."""
    from tradewind.workspace import Workspace

    budget = Workspace(workspace).budgets.set(team, usd, per=per)  # type: ignore[arg-type] # refused with the nearest
    if json:
        as_json(_plain(budget))
        return
    typer.echo(f"team {team} may spend {format_usd(usd)} {_per(budget)}; {format_usd(budget.room_usd)} is left")


@app.command("list")
def list_budgets(workspace: Where = None, json: Json = False) -> None:
    """Limits, what is spent and reserved of them, and what is left."""
    from tradewind.workspace import Workspace

    budgets = Workspace(workspace).budgets.list()
    if json:
        as_json([_plain(budget) for budget in budgets])
        return
    rows = [
        (budget.team, *map(format_usd, (budget.limit_usd, budget.spent_usd, budget.reserved_usd, budget.room_usd)),
         budget.period, ", ".join(sorted(budget.reserved)) or None)
        for budget in budgets
    ]  # fmt: skip
    columns = ("team", "limit", "spent", "reserved", "left", "per", "at work")
    table("budgets", columns, rows, empty="no team has a budget; set one: tw budgets set --team NAME --usd USD")


@app.command()
def remove(team: Team, workspace: Where = None) -> None:
    """Let a team spend anything again."""
    from tradewind.workspace import Workspace

    Workspace(workspace).budgets.remove(team)
    typer.echo(f"team {team} has no budget any more")


def _per(budget: Budget) -> str:
    return "in all" if budget.period == "total" else f"a {budget.period}"


def _plain(budget: Budget) -> dict[str, Any]:
    since = budget.since.isoformat() if budget.since else None
    sums = {"reserved_usd": budget.reserved_usd, "room_usd": budget.room_usd}
    return asdict(budget) | {"since": since} | sums
