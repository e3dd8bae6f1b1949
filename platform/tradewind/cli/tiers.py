"""`tw datasets tier` and `lifecycle`: which storage class shards are in, where they belong, and how they get there."""

from __future__ import annotations

import json as plain_json
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tradewind.cli.output import Json, Where, as_json, confirm, table
from tradewind.errors import SpecError
from tradewind.units import format_bytes, format_usd

if TYPE_CHECKING:
    from tradewind.datasets.tiers.placement import Plan
    from tradewind.datasets.tiers.policy import Policy
    from tradewind.datasets.tiers.tiering import Restore

Tier = Literal["hot", "warm", "cold", "archive"]
Cloud = Literal["s3", "gcs", "azure"]
Reference = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="A dataset; alone all its versions.")]


app = typer.Typer()


@app.command()
def tier(
    dataset: Reference,
    policy: Annotated[
        Literal["cost", "days"], typer.Option("--policy", help="`cost`: what is cheapest; `days`: archive what rests.")
    ] = "cost",
    after: Annotated[float | None, typer.Option("--after", help="Days without access, for `days`; default 30.")] = None,
    coldest: Annotated[
        Tier | None, typer.Option("--coldest", help="Go no colder; default cold, for `days` archive.")
    ] = None,
    recent_hours: Annotated[float, typer.Option("--recent-hours", help="What runs of so late have read stays.")] = 24.0,
    tagged: Annotated[bool, typer.Option("--tagged", help="Move tagged versions too.")] = False,
    cloud: Annotated[Cloud | None, typer.Option("--cloud", help="As if it were hot in that cloud; only looks.")] = None,
    apply: Annotated[bool, typer.Option("--apply/--dry-run", help="Move the objects; without it nothing changes.")] = (
        False
    ),
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Show which storage class the shards belong in and what that saves; with --apply move them."""
    from tradewind.workspace import Workspace

    chosen, recent = _policy(policy, after, coldest), timedelta(hours=recent_hours)
    if apply and cloud:
        raise SpecError("--cloud is only for looking", hint="leave out --cloud, or --apply")
    tiers = Workspace(workspace).datasets.tiering
    plan = tiers.plan(dataset, chosen, cloud=cloud, recent=recent, tagged=tagged)
    done = tiers.apply(plan, recent=recent, tagged=tagged) if apply and plan.moves else None
    if json:
        as_json({**plan.to_dict(), "applied": done.model_dump(mode="json") if done else None})
        return
    _show(plan)
    if done:
        moved = sum(move.num_objects for move in done.moves)
        held = f"; {done.held_back} stayed, because a run has begun to use them" if done.held_back else ""
        typer.echo(f"moved {moved} objects{held}; recorded as {done.id}")
    elif plan.moves:
        typer.echo("nothing was changed; --apply moves them")


@app.command()
def lifecycle(
    dataset: Annotated[str, typer.Argument(metavar="NAME", help="A dataset.")],
    cloud: Annotated[Cloud, typer.Option("--cloud", help="Whose rule.")],
    after: Annotated[int, typer.Option("--after", help="Days after which marked objects are archived.")] = 30,
    workspace: Where = None,
) -> None:
    """Print a rule for the bucket that archives what `tier --apply` has made cold."""
    from tradewind.datasets.tiers.lifecycle import bucket_rule, warning
    from tradewind.progress import print_line
    from tradewind.workspace import Workspace

    store = Workspace(workspace).store
    typer.echo(plain_json.dumps(bucket_rule(cloud, dataset, store_url=store.url, after_days=after), indent=2))
    for line in warning(cloud, after_days=after):
        print_line(line)


def restore_archived(workspace: str | None, dataset: str, *, wait: bool, status: bool, yes: bool, json: bool) -> bool:
    """The part of `tw datasets restore` that brings shards back from the archive. False where there was nothing to do.

    Asks before it costs something.
    """
    from tradewind.storage.classes.table import CLOUDS, must_be_restored
    from tradewind.workspace import Workspace

    place = Workspace(workspace)
    cloud = CLOUDS.get(place.url.partition(":")[0])
    if cloud is None or not must_be_restored(cloud):
        return False
    found = place.datasets.tiering.restored(dataset)
    if found.is_readable and not found.ready:
        return False
    if not status and not found.is_readable:
        if found.archived:
            confirm(f"restore {found.archived} objects ({format_bytes(found.num_bytes)}) for {_cost(found)}", yes=yes)
        found = place.datasets.tiering.restore(dataset, wait=wait)
    if json:
        as_json({**vars(found), "readable": found.is_readable})
        return True
    hours = f", ready within {found.hours:g} h of being asked for" if found.hours and not found.is_readable else ""
    days = f", readable for {found.days} days" if found.days else ""
    typer.echo(
        f"{found.dataset}: {found.ready} archived objects readable, {found.restoring} on their way, "
        f"{found.archived} not asked for; retrieval {_cost(found)}{hours}{days}"
    )
    return True


def _cost(found: Restore) -> str:
    return "a price that is not known" if found.usd is None else format_usd(found.usd)


def _policy(name: str, after: float | None, coldest: Tier | None) -> Policy:
    from tradewind.datasets.tiers.policy import AFTER_DAYS, CostPolicy, DaysPolicy

    if name == "days":
        return DaysPolicy(AFTER_DAYS if after is None else after, coldest=coldest or "archive")
    if after is not None:
        raise SpecError("--after is for --policy days", hint="the cost policy reckons with heat; leave out --after")
    return CostPolicy(coldest=coldest or "cold")


def _show(plan: Plan) -> None:
    from tradewind.datasets.tiers.placement import total
    from tradewind.storage.classes.table import price_note

    rows = [
        (f"{plan.name}@{line.version}", line.split, line.num_objects, format_bytes(line.num_bytes),
         line.now if line.stays else f"{line.now} → {line.then}",
         "" if line.stays else _usd(line.saves_usd_per_month), "" if line.stays else _usd(line.move_usd),
         _usd(line.read_usd) if line.read_usd is not None or not line.stays else "", line.reason)
        for line in plan.lines
    ]  # fmt: skip
    columns = ("version", "split", "objects", "size", "tier", "saves a month", "to move", "to read", "why")
    table(f"tiers of {plan.name} ({plan.cloud}; {plan.policy})", columns, rows, empty="no shards")
    moving = [line for line in plan.lines if not line.stays]
    if moving:
        size = format_bytes(sum(line.num_bytes for line in moving))
        saves, costs = (
            _usd(total([getattr(line, name) for line in moving])) for name in ("saves_usd_per_month", "move_usd")
        )
        typer.echo(f"to move: {len(plan.moves)} objects, {size}; saves {saves} a month, costs {costs} once")
        region, as_of = plan.prices
        typer.echo(f"amounts are estimated from list prices of {region}, {as_of}, without requests")
        if note := price_note(plan.cloud):
            typer.echo(note)
    for words in plan.unknown:
        typer.echo(f"not known: {words}")


def _usd(amount: float | None) -> str:
    return "unknown" if amount is None else format_usd(amount)
