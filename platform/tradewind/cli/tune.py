"""`tw tune`: search the values of a training run, on machines that may vanish, within a budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from tradewind.cli.output import Json, Where, as_json, facts, page, table
from tradewind.units import format_usd

if TYPE_CHECKING:
    from tradewind.specs import TuneSpec
    from tradewind.tuning.sweep import Sweep

START = "start"


class Group(TyperGroup):
    """`tw tune FILE` is short for `tw tune start FILE`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if args and args[0] not in self.commands and _is_file(args[0]):
            args = [START, *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Sweeps: `tw tune SPEC` starts one, or goes on with it; list, show, stop, resume, best, report.",
)

Name = Annotated[str, typer.Argument(metavar="SWEEP", help="Name of a sweep, or `last`.")]
Dollars = Annotated[float | None, typer.Option("--budget", help="Dollars for all trials together.")]
Hours = Annotated[float | None, typer.Option("--hours", help="Hours for the sweep.")]
Cap = Annotated[
    float | None, typer.Option("--max-price", help="Highest spot price, as a share of that on demand, like 0.8.")
]
Trials = Annotated[int | None, typer.Option("--trials", min=1, help="Configurations that are tried, at most.")]
Parallel = Annotated[int | None, typer.Option("--parallel", min=1, help="Trials at once, at most.")]
Anyway = Annotated[
    bool, typer.Option("--anyway", help="Though it seems to run: its driver's machine is known to be gone.")
]


@app.command(START)
def start(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A YAML file with `kind: tune`.")],
    budget: Dollars = None,
    hours: Hours = None,
    max_price: Cap = None,
    trials: Trials = None,
    parallel: Parallel = None,
    anyway: Anyway = False,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Start a sweep and follow it to its end; one of this name that was begun before goes on."""
    from tradewind.specs import TuneSpec
    from tradewind.workspace import Workspace

    wish = _changed(TuneSpec.load(spec), budget, hours, max_price, trials, parallel)
    with Workspace(workspace) as place:
        _follow(place.tune(wish, anyway=anyway), json=json)


@app.command()
def resume(
    sweep: Name,
    budget: Dollars = None,
    hours: Hours = None,
    max_price: Cap = None,
    trials: Trials = None,
    parallel: Parallel = None,
    anyway: Anyway = False,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Go on with a sweep, from its records alone, and follow it to its end; its limits may be others now."""
    from tradewind.workspace import Workspace

    with Workspace(workspace) as place:
        wish = _changed(place.sweeps.get(sweep).spec, budget, hours, max_price, trials, parallel)
        _follow(place.tune(wish, anyway=anyway), json=json)


@app.command("list")
def list_(workspace: Where = None, json: Json = False) -> None:
    """All sweeps with the best that each has found."""
    from tradewind.workspace import Workspace

    found = [(one, one.standing()) for one in Workspace(workspace).sweeps.list()]
    if json:
        as_json([_line(sweep) for sweep, _ in found])
        return
    rows = [
        (sweep.name, sweep.status, f"{standing.start.created_at:%Y-%m-%d %H:%M}",
         f"{len(standing.trials)} of {standing.spec.trials}", standing.spec.objective,
         standing.objective(standing.best) if standing.best else None, format_usd(standing.usd),
         None if standing.left_usd is None else format_usd(standing.left_usd))
        for sweep, standing in found
    ]  # fmt: skip
    columns = ("sweep", "status", "started (UTC)", "trials", "objective", "best", "spent", "left")
    table("sweeps", columns, rows, empty="no sweeps yet; start one: tw tune SPEC")


@app.command()
def show(
    sweep: Name,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """The best so far, dollars, the spot price against its cap, rungs, and all trials, best first."""
    from tradewind.workspace import Workspace

    found = Workspace(workspace).sweeps.get(sweep)
    if follow:
        _follow(found, json=json)
    else:
        _show(found, json=json)


@app.command()
def stop(sweep: Name, workspace: Where = None) -> None:
    """Let the trials of a sweep leave behind a checkpoint; `tw tune resume` goes on with it."""
    from tradewind.workspace import Workspace

    found = Workspace(workspace).sweeps.get(sweep)
    found.stop()
    typer.echo(f"{found.name} stops behind the next checkpoints")


@app.command()
def best(
    sweep: Name,
    register: Annotated[
        str | None, typer.Option("--register", metavar="MODEL", help="Make it the next version of this model.")
    ] = None,
    alias: Annotated[str | None, typer.Option("--alias", help="Let this alias mean the new version.")] = None,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """The best trial: its values, its run, and with --register its model in the registry."""
    from tradewind.errors import SpecError
    from tradewind.workspace import Workspace

    if alias and not register:
        raise SpecError("an alias needs a model", hint=f"add --register MODEL to --alias {alias}")
    place = Workspace(workspace)
    found = place.sweeps.get(sweep)
    model = place.models.register(found.best_run.best, name=register, alias=alias) if register else None
    _show_best(found, model.reference if model else None, alias, json=json)


@app.command()
def report(
    sweep: Name,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Also write the page to this file.")] = None,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Write the report: one HTML page with parallel coordinates, importance, learning curves, cost against quality."""
    from tradewind.workspace import Workspace

    place = Workspace(workspace)
    made = place.report(place.sweeps.get(sweep))
    page(made, output, json=json)


def _is_file(word: str) -> bool:
    """Whether a word is meant as a file: a command that is mistyped is none."""
    return not word.startswith("-") and (word.endswith((".yaml", ".yml")) or "/" in word or Path(word).is_file())


def _changed(
    spec: TuneSpec,
    budget: float | None,
    hours: float | None,
    max_price: float | None,
    trials: int | None,
    parallel: int | None,
) -> TuneSpec:
    given = {
        "budget_usd": budget, "budget_hours": hours, "max_price": max_price, "trials": trials, "parallel": parallel,
    }  # fmt: skip
    changes = {key: value for key, value in given.items() if value is not None}
    return spec.with_values(**changes) if changes else spec


def _follow(sweep: Sweep, *, json: bool) -> None:
    from tradewind.tuning.table import screen

    with screen() as look:
        sweep.wait(look)
    _show(sweep, json=json)


def _show(sweep: Sweep, *, json: bool) -> None:
    from dataclasses import replace

    from tradewind.tuning.standing import summary
    from tradewind.tuning.table import show

    standing = replace(sweep.standing(), status=sweep.status)  # which knows when the driver is gone
    if json:
        as_json(summary(standing))
    else:
        show(standing)


def _line(sweep: Sweep) -> dict[str, Any]:
    from tradewind.tuning.standing import summary

    found = summary(sweep.standing())
    kept = ("sweep", "objective", "best", "usd", "budget_usd", "left_usd", "machine_s")
    return {"status": sweep.status, "trials": len(found["trials"]), **{key: found[key] for key in kept}}


def _show_best(sweep: Sweep, model: str | None, alias: str | None, *, json: bool) -> None:
    from tradewind.tuning.table import format_value, objective_words

    standing, trial = sweep.standing(), sweep.best
    if json:
        plain = {"number": trial.number, "run": trial.run, "values": dict(trial.values), "step": trial.step}
        as_json({"sweep": sweep.name, **plain, "objective": standing.objective(trial), "model": model})
        return
    facts(
        f"{sweep.name}: trial {trial.number}",
        {
            objective_words(standing): standing.objective(trial),
            **{key: format_value(value) for key, value in trial.values.items()},
            "step": trial.step,
            "run": trial.run,
            **({"model": f"{model}{f', which is @{alias}' if alias else ''}"} if model else {}),
        },
    )
