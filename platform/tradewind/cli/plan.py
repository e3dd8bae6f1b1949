"""`tw plan`: where work should run and what it will take, as a table; the reasons behind it with `--explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradewind.cli.output import Json, Where, as_json, facts, table, write_file
from tradewind.errors import SpecError
from tradewind.planner.choice.words import (
    alike,
    bounds_words,
    carbon_words,
    chips_words,
    dollar_words,
    layout_words,
    machines_words,
    place_words,
    range_words,
)
from tradewind.units import format_bytes, format_count, format_hours, format_usd

if TYPE_CHECKING:
    from tradewind.planner import Plan
    from tradewind.records import Placement, PlanRecord
    from tradewind.specs import ServeSpec, TrainSpec

TRAINING = ("#", "where", "market", "machines", "chips", "time", "90 %", "dollars", "90 %", "$/M tokens", "kg CO2e")
SERVING = (
    "#", "where", "market", "machines", "chips", "replicas", "1st token", "between", "dollars", "90 %", "$/M tokens",
    "kg CO2e",
)  # fmt: skip
REASONS, NEAREST = 8, 5
PLACES = 40
"""Candidates that are looked at for each row, since many differ in their place alone."""


def plan(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A YAML file with `kind: train` or `kind: serve`.")],
    budget: Annotated[float | None, typer.Option("--budget", help="Most dollars for all of it.")] = None,
    deadline: Annotated[str | None, typer.Option("--deadline", help="Longest time to the result, like 24h.")] = None,
    carbon: Annotated[float | None, typer.Option("--carbon", help="Most kg of CO2 equivalents.")] = None,
    effort: Annotated[float | None, typer.Option("--effort", help="Most person-days to move to another cloud.")] = None,
    residency: Annotated[list[str] | None, typer.Option("--residency", help="DE, EU or aws/eu-*; repeat.")] = None,
    cloud: Annotated[list[str] | None, typer.Option("--cloud", help="A cloud to take from; repeat.")] = None,
    chip: Annotated[list[str] | None, typer.Option("--chip", help="An accelerator, like H100, or cpu; repeat.")] = None,
    market: Annotated[list[str] | None, typer.Option("--market", help="on_demand, spot, reserved, owned.")] = None,
    machines: Annotated[int | None, typer.Option("--max-machines", help="Most machines at a time.")] = None,
    weigh: Annotated[
        str, typer.Option("--weigh", help="What counts: cost, time, carbon, effort, like cost=1,carbon=0.2.")
    ] = "cost=1",
    data_at: Annotated[str | None, typer.Option("--data-at", help="Where the data is, like aws/us-east-1.")] = None,
    hours: Annotated[
        Path | None, typer.Option("--grid", help="CSV with region, hour, value: hourly g CO2e/kWh, to choose a start.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows to show.")] = 10,
    front: Annotated[bool, typer.Option("--front", help="Show what no other candidate beats in all.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say why, and why the others are not chosen.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Also write a page with a chart to this file.")] = None,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Where work should run: what each offer would take in time, dollars and carbon, and why the others cannot."""
    from tradewind.workspace import Workspace

    limits = {
        "budget_usd": budget, "deadline_s": deadline, "carbon_kg": carbon, "effort_days": effort,
        "residency": residency, "clouds": cloud, "chips": chip, "markets": market, "max_machines": machines,
    }  # fmt: skip
    wish = with_limits(load_wish(spec), limits)
    place = Workspace(workspace)
    made = place.plan(wish, data_at=data_at, grid=hours).rank(**weights(weigh))
    record = place.plans.write(wish, made)
    if html:
        write_file(html, made.to_html())
    if json:
        as_json(record)
        return
    placements_table(made, record, made.front if front else list(made.candidates(PLACES * limit)), limit)
    if explain:
        explain_plan(made)


def load_wish(path: str) -> TrainSpec | ServeSpec:
    """Raises SpecError for a spec that is neither trained nor served."""
    from tradewind.specs import ServeSpec, TrainSpec, load

    wish = load(path)
    if not isinstance(wish, TrainSpec | ServeSpec):
        raise SpecError(f"{path}: a {wish.kind} spec is not planned", hint="plan a train or a serve spec")
    return wish


def with_limits(wish: TrainSpec | ServeSpec, limits: dict[str, Any]) -> TrainSpec | ServeSpec:
    """The spec with the limits that were given in the place of its own."""
    given = {f"where__{name}": value for name, value in limits.items() if value is not None and value != []}
    return wish.with_values(**given) if given else wish


def weights(text: str) -> dict[str, float]:
    """`cost=1,carbon=0.2` as numbers by name. Raises SpecError."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        try:
            found[name.strip()] = float(number or 1)
        except ValueError as exc:
            raise SpecError(f"--weigh: {part!r} is no weight", hint="write cost=1,carbon=0.2") from exc
    return found


def placements_table(made: Plan, record: PlanRecord, rows: list[Placement], limit: int) -> None:
    """Print candidates, those that differ in their place alone as one, then how many there are and what is old."""
    shown = alike(rows)[:limit]
    numbers = {id(one): number for number, one in enumerate(rows, 1)}
    serving = bool(rows[0].replicas)
    cells = [(_serving_row if serving else _training_row)(numbers[id(one)], one, more) for one, more in shown]
    table(f"plan {record.plan}", SERVING if serving else TRAINING, cells, empty="")
    bases = sorted({one.basis for one, _ in shown})
    typer.echo(
        f"{format_count(made.count)} candidates on {made.num_possible} of {len(made.offers)} offers; "
        f"{len(made.front)} beat all others in dollars, time or carbon (--front); {' and '.join(bases)}"
    )
    if any(one.price_is_old for one, _ in shown):
        typer.echo("* price older than 30 days: tw catalog refresh CLOUD")


def explain_plan(made: Plan) -> None:
    """Print what the first candidate's figures are made of, the nearest rejected offers, and what is assumed."""
    best = made.best
    facts(f"{best.offer}, {best.machines} machines", _parts(best))
    rejected = made.rejected
    if rejected:
        counts = [(count, what) for what, count in made.reasons.most_common(REASONS)]
        table(f"\n{len(rejected)} offers rejected, by what they lack least", ("offers", "what"), counts, empty="")
        nearest = [(str(one.offer.id), str(one.reason)) for one in made.nearest(NEAREST)]
        table("\nthe nearest of them", ("offer", "why not"), nearest, empty="")
    typer.echo("\nassumed")
    for line in made.assumptions:
        typer.echo(f"  {line}")


def _training_row(number: int, one: Placement, more: int) -> tuple[object, ...]:
    return (
        *_where(number, one, more), format_hours(one.hours.value), bounds_words(one.hours, format_hours), *_money(one),
    )  # fmt: skip


def _serving_row(number: int, one: Placement, more: int) -> tuple[object, ...]:
    waits = (_milliseconds(one.ttft_s), _milliseconds(one.itl_s))
    return (*_where(number, one, more), one.replicas, *waits, *_money(one))


def _where(number: int, one: Placement, more: int) -> tuple[object, ...]:
    place = place_words(one) + (f" +{more}" if more else "")
    return number, place, one.market, machines_words(one), chips_words(one)


def _money(one: Placement) -> tuple[object, ...]:
    bounds = bounds_words(one.cost_usd, format_usd)
    return dollar_words(one), bounds, format_usd(one.usd_per_million_tokens), carbon_words(one)


def _parts(one: Placement) -> dict[str, object]:
    cost = one.cost
    parts = {name.removesuffix("_usd"): value for name, value in cost.model_dump().items() if value > 0}
    return {
        "chips": f"{one.chips} x {one.chip or 'processors'}, {one.precision}, split: {layout_words(one)}",
        "memory of a chip": format_bytes(one.memory_bytes),
        "speed": f"{range_words(one.tokens_per_s, format_count)} tokens/s, {one.basis}",
        "time": range_words(one.hours, format_hours),
        "dollars": f"{range_words(one.cost_usd, format_usd)}: "
        + ", ".join(f"{name} {format_usd(value)}" for name, value in parts.items()),
        "price": f"{format_usd(one.usd_per_machine_hour)}/h a machine, of {one.price_as_of or 'an unknown day'}",
        "energy": None if one.energy_kwh is None else f"{one.energy_kwh:.3g} kWh (estimated)",
        "carbon": None if one.carbon_kg is None else f"{one.carbon_kg:.3g} kg CO2e (estimated)",
        "effort": f"{one.effort_days:.3g} person-days to move there" if one.effort_days else "none: nothing moves",
        **({"start": f"{one.starts_at:%Y-%m-%d %H:%M} UTC"} if one.starts_at else {}),
        **({"because": "; ".join(one.why)} if one.why else {}),
    }


def _milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1000:.3g} ms"
