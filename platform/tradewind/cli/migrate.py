"""`tw migrate estimate`: what it takes to leave one cloud for another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tradewind.cli.output import Json, Where, as_json, table
from tradewind.errors import SpecError
from tradewind.planner.ownership.hours import Month
from tradewind.units import format_bytes, format_seconds, parse_bytes

if TYPE_CHECKING:
    from tradewind.planner.effort import ThreePoint
    from tradewind.planner.migration import Bill, Migration, Side
    from tradewind.workspace import Workspace

app = typer.Typer(help="Leaving a cloud.", no_args_is_help=True)

CLOUD_OF_SCHEME = {"s3": "aws", "gs": "gcp", "az": "azure"}


@app.callback()
def root() -> None:
    """Leaving a cloud."""


@app.command("estimate")
def estimate(
    to: Annotated[str, typer.Option("--to", help="The cloud to go to.")],
    from_: Annotated[
        str | None, typer.Option("--from", help="The cloud to leave; default where the workspace is.")
    ] = None,
    from_region: Annotated[
        str | None, typer.Option("--from-region", help="Default where machines are cheapest.")
    ] = None,
    to_region: Annotated[str | None, typer.Option("--to-region", help="Default the nearest that has them.")] = None,
    gpu: Annotated[str | None, typer.Option("--gpu", help="Chips in use, like H100; their largest machine.")] = None,
    instance: Annotated[str | None, typer.Option("--instance", help="The machine type in use.")] = None,
    to_instance: Annotated[str | None, typer.Option("--to-instance", help="Default the one least unlike it.")] = None,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Machines in use.")] = 1,
    data: Annotated[str | None, typer.Option("--data", help="What moves, like 50TB; default the workspace.")] = None,
    bandwidth: Annotated[float, typer.Option("--gbit-per-s", min=0.001, help="Of the move; an assumption.")] = 10.0,
    team: Annotated[int, typer.Option("--team", min=1, help="People.")] = 3,
    month: Annotated[Month, typer.Option("--month", help="Hours of a month: 30 days, or 8760 / 12.")] = "730h",
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Estimate a move to another cloud: what breaks, fees and time for the data, effort, and the bill after."""
    from tradewind.planner.migration import Wish, estimate_migration
    from tradewind.workspace import Workspace

    place = Workspace(workspace)
    wish = Wish(
        source=from_ or _cloud_of(place.url),
        target=to,
        source_region=from_region,
        target_region=to_region,
        gpu=gpu,
        instance=instance,
        target_instance=to_instance,
        nodes=nodes,
        data_bytes=_bytes(data) if data else _bytes_of(place),
        bandwidth_bytes_per_s=bandwidth * 1e9 / 8,
        team=team,
        month=month,
    )
    found = estimate_migration(place.catalog, wish)
    if json:
        as_json(found.to_dict())
    else:
        _show(found)


def _bytes(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as exc:
        raise SpecError(f"--data: {exc}") from exc


def _cloud_of(url: str) -> str:
    cloud = CLOUD_OF_SCHEME.get(url.partition(":")[0])
    if cloud is None:
        raise SpecError(f"the workspace {url} is in no cloud", hint="say which one is left: --from aws")
    return cloud


def _bytes_of(place: Workspace) -> int:
    """All objects of the workspace: a move takes them all."""
    return sum(item.num_bytes for item in place.store.list(""))


def _show(found: Migration) -> None:
    wish, effort = found.wish, found.effort
    table(
        f"{_side(found.before)} → {_side(found.after)}",
        ("", "topic", "before", "after", "because"),
        [(one.verdict, one.topic, one.before or "?", one.after or "?", one.reason) for one in found.findings],
        empty="nothing differs",
    )
    typer.echo()
    table(
        "work, in person-days: at best, most likely, at worst; assumptions",
        ("task", "best", "likely", "worst", "then waits", "what"),
        [
            (
                task.name,
                f"{task.work.low:g}",
                f"{task.work.likely:g}",
                f"{task.work.high:g}",
                _wait(task.wait),
                task.what,
            )
            for task in effort.tasks
        ],
        empty="",
    )
    typer.echo(
        f"effort, estimated: {effort.p50_person_days:.0f} person-days (P80 {effort.p80_person_days:.0f}); "
        f"{_people(wish.team)} {'is' if wish.team == 1 else 'are'} done after {effort.p50_days:.0f} working days "
        f"(P80 {effort.p80_days:.0f})"
    )
    typer.echo(_data_line(found))
    typer.echo(_bill_line(found))
    for note in found.notes:
        typer.echo(f"note: {note}")


def _side(side: Side) -> str:
    machines = f", {side.nodes} × {side.instance.name}" if side.instance else ""
    return f"{side.place}{machines}"


def _wait(days: ThreePoint) -> str:
    return f"{days.low:.2g} to {days.high:.2g} days" if days.high else ""


def _people(team: int) -> str:
    return "one person" if team == 1 else f"{team} people"


def _data_line(found: Migration) -> str:
    data = found.data
    if not data.num_bytes:
        return "data: nothing moves"
    return (
        f"data: {format_bytes(data.num_bytes)} leave for ${data.usd:,.2f}, and take {format_seconds(data.seconds)} at "
        f"{found.wish.bandwidth_bytes_per_s * 8 / 1e9:g} Gbit/s"
    )


def _bill_line(found: Migration) -> str:
    before, after = (_bill(bill) for bill in (found.bill_before, found.bill_after))
    return f"machines, on demand, all {found.wish.month[:-1]} hours of a month: {before} → {after}"


def _bill(bill: Bill | None) -> str:
    return f"${bill.usd_per_month:,.0f}" if bill else "not known"
