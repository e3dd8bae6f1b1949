"""`tw datasets replicate`, `copies`, `drop-copy` and `budget`: copies in other clouds, and what reading may cost."""

from __future__ import annotations

from typing import Annotated

import typer

from tradewind.cli.output import Json, Where, Yes, as_json, confirm, facts, table
from tradewind.units import format_usd

app = typer.Typer()
Name = Annotated[str, typer.Argument(metavar="NAME", help="A dataset.")]
Reference = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="A dataset; without a version the newest.")]


@app.command()
def replicate(
    dataset: Reference,
    urls: Annotated[list[str], typer.Argument(metavar="URL...", help="Stores that are to hold a copy.")],
    place: Annotated[
        list[str] | None,
        typer.Option("--place", help="Where the stores are, like aws/eu-west-1; once for all, or once for each."),
    ] = None,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Copy a version to other stores; each byte crosses what is paid for once. Again after a stop, it goes on."""
    from tradewind.workspace import Workspace

    made = Workspace(workspace).datasets.replicate(dataset, *urls, places=place or ())
    if json:
        as_json(made)
        return
    for copy in made:
        typer.echo(f"{copy.url} ({copy.place}) holds {copy.name}@{', @'.join(map(str, copy.versions))}")
        if not copy.place.cloud:
            typer.echo("its place is not known, so reading from it counts as the dearest; say where it is: --place")


@app.command()
def copies(dataset: Name, workspace: Where = None, json: Json = False) -> None:
    """Where a dataset can be read from, beside its home."""
    from tradewind.workspace import Workspace

    found = Workspace(workspace).datasets.copies(dataset)
    if json:
        as_json(found)
        return
    rows = [
        (copy.url, str(copy.place), ", ".join(map(str, copy.versions)), f"{copy.created_at:%Y-%m-%d %H:%M}")
        for copy in found
    ]
    empty = f"{dataset} has no copies; make one: tw datasets replicate {dataset} URL --place cloud/region"
    table(f"copies of {dataset}", ("store", "place", "versions", "since (UTC)"), rows, empty=empty)


@app.command("drop-copy")
def drop_copy(
    dataset: Name,
    url: Annotated[str, typer.Argument(metavar="URL", help="The store that holds the copy.")],
    delete: Annotated[bool, typer.Option("--delete", help="Also remove its objects.")] = False,
    yes: Yes = False,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Read a copy no more."""
    from tradewind.workspace import Workspace

    if delete:
        confirm(f"Delete everything of {dataset} at {url}?", yes=yes)
    dropped = Workspace(workspace).datasets.drop_copy(dataset, url, delete=delete)
    if json:
        as_json(dropped)
    else:
        typer.echo(f"{dropped.url} is no copy of {dropped.name} any more" + (", and is empty of it" if delete else ""))


@app.command()
def budget(
    usd: Annotated[float | None, typer.Argument(metavar="[USD]", help="The new limit in dollars.")] = None,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """What reading and copying over paid boundaries may cost this workspace, and what it has cost."""
    from tradewind.catalog.transfer import NUSD
    from tradewind.workspace import Workspace

    account = Workspace(workspace, egress_budget_usd=usd).egress_budget.account()
    limit, taken = (account.limit_nusd / NUSD, account.reserved_nusd / NUSD) if account else (None, 0.0)
    if json:
        as_json({"limit_usd": limit, "spent_or_reserved_usd": taken})
    elif limit is None:
        typer.echo("no limit is set; set one: tw datasets budget USD")
    else:
        facts(
            "egress budget",
            {"limit": format_usd(limit), "spent or set aside": format_usd(taken), "left": format_usd(limit - taken)},
        )
