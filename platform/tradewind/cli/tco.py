"""`tw tco buy-vs-rent`: machines of one's own against rented ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradewind.cli.output import Json, Where, as_json, numbers, table, write_file
from tradewind.errors import SpecError
from tradewind.planner.ownership.case import Pays
from tradewind.planner.ownership.hours import Month

if TYPE_CHECKING:
    from tradewind.planner.ownership.answer import Answer

app = typer.Typer(help="What machines cost over their life.", no_args_is_help=True)

MOST_BARS = 8


@app.callback()
def root() -> None:
    """What machines cost over their life."""


@app.command("buy-vs-rent")
def buy_vs_rent(
    gpu: Annotated[str, typer.Option("--gpu", help="Chip or family, like H100.")] = "H100-SXM",
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Machines.")] = 1,
    gpus_per_node: Annotated[int, typer.Option("--gpus-per-node", min=1, help="Chips in each.")] = 8,
    model: Annotated[
        str | None, typer.Option("--model", help="Check that a machine serves it, like qwen3-32b.")
    ] = None,
    cloud: Annotated[str | None, typer.Option("--cloud", help="Whose rent; default the cheapest.")] = None,
    usd_per_gpu_hour: Annotated[float | None, typer.Option("--usd-per-gpu-hour", help="Rent of one chip.")] = None,
    usd_per_node_hour: Annotated[float | None, typer.Option("--usd-per-node-hour", help="Rent of one machine.")] = None,
    pays: Annotated[Pays, typer.Option("--pays", help="On demand for `used` hours; a reservation `always`.")] = "used",
    utilisation: Annotated[float | None, typer.Option("--utilisation", help="Share of hours that chips work.")] = None,
    horizon: Annotated[float | None, typer.Option("--horizon", help="Months that the machines are kept.")] = None,
    month: Annotated[Month, typer.Option("--month", help="Hours of a month: 30 days, or 8760 / 12.")] = "730h",
    set_: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE of any input; repeat it.")] = None,
    delay_months: Annotated[float, typer.Option("--delay-months", help="Until what was bought works.")] = 0.0,
    usd_per_month_of_delay: Annotated[
        float, typer.Option("--usd-per-month-of-delay", help="What each of them would have earned.")
    ] = 0.0,
    setup_person_months: Annotated[
        float, typer.Option("--setup-person-months", help="Work until then, on top of running.")
    ] = 0.0,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with charts.")] = None,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Compare buying machines with renting them: break-even, use at which the answer flips, what matters."""
    from tradewind.planner.ownership import NodeRate, opportunity_usd
    from tradewind.planner.ownership.answer import Question, buy_or_rent
    from tradewind.planner.ownership.page import page
    from tradewind.workspace import Workspace

    given = numbers(set_ or [], example="wacc=0.1")
    if usd_per_node_hour is not None:
        if usd_per_gpu_hour is not None:
            raise SpecError("a price of a chip and a price of a machine", hint="give one of them")
        usd_per_gpu_hour = NodeRate(usd_per_node_hour).of_gpus(gpus_per_node).usd
    options = {"usd_per_gpu_hour": usd_per_gpu_hour, "utilisation": utilisation, "horizon_months": horizon}
    given.update({name: value for name, value in options.items() if value is not None})
    catalog = Workspace(workspace).catalog
    question = Question(gpu, nodes, gpus_per_node, pays, month, cloud, given, model)
    found = buy_or_rent(catalog, question)
    lost = opportunity_usd(
        setup_person_months=setup_person_months,
        usd_per_fte_year=found.inputs["usd_per_fte_year"].value,
        delay_months=delay_months,
        usd_per_month=usd_per_month_of_delay,
    )
    if lost:
        given["opportunity_usd"] = given.get("opportunity_usd", 0.0) + lost
        found = buy_or_rent(catalog, question)
    if html:
        write_file(html, page(found))
    if json:
        as_json(found.to_dict())
    else:
        _show(found)


def _show(found: Answer) -> None:
    from tradewind.planner.ownership.page import months, threshold, usd, verdict

    terms, question = found.case.terms, found.question
    title = (
        f"{question.nodes} × {question.gpus_per_node} {found.chip.name} over {terms.horizon_months:g} months of "
        f"{question.month[:-1]} hours, estimated; dollars at {terms.wacc:.1%} a year"
    )
    rows = [("without opportunity costs", found.comparison)] if found.with_opportunity else [("", found.comparison)]
    if found.with_opportunity:
        rows.append(("with them", found.with_opportunity))
    cells = [
        (name, usd(one.case.purchase.capital_usd), usd(one.buy_usd_per_month), usd(one.buy_usd),
         usd(one.rent_usd_per_month), usd(one.rent_usd), _hour(one.buy_usd_per_gpu_hour),
         _hour(one.rent_usd_per_gpu_hour), months(one), threshold(one))
        for name, one in rows
    ]  # fmt: skip
    if found.fit:
        typer.echo(f"{found.fit} (estimated)")
    table(title, COLUMNS, cells, empty="")
    for name, one in rows:
        typer.echo(f"{name + ': ' if name else ''}{verdict(one)}")
    _more(found)


COLUMNS = (
    "", "purchase", "running/month", "buying", "rent/month", "renting", "own $/GPU·h", "rent $/GPU·h", "break-even",
    "flips at use",
)  # fmt: skip


def _more(found: Answer) -> None:
    from tradewind.planner.ownership.page import usd

    typer.echo()
    table(
        "what matters most: saving of buying at each end",
        ("input", "low", "high", "at low", "at high", "changes the answer"),
        [
            (bar.name, f"{bar.low:g}", f"{bar.high:g}", usd(bar.at_low.saving_usd), usd(bar.at_high.saving_usd),
             "yes" if bar.flips else "")
            for bar in found.bars[:MOST_BARS]
        ],
        empty="every input was given, so none has a range",
    )  # fmt: skip
    typer.echo()
    typer.echo("inputs; change one with --set NAME=VALUE")
    for one in found.inputs.values():
        said = "given" if one.basis == "given" else f"{one.basis}: {one.source}"
        typer.echo(f"{one.name:<27} {one.value:>9,g} {one.unit:<16} {said}")
    for warning in found.warnings:
        typer.echo(f"note: {warning}")


def _hour(usd: float | None) -> str:
    return "–" if usd is None else f"{usd:.2f}"
