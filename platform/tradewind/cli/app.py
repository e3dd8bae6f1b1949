"""The commands in one tree, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from typing import Annotated

import typer

import tradewind
from tradewind.cli import (
    autoscale,
    budgets,
    catalog,
    chaos,
    cluster,
    cluster_status,
    datasets,
    demo,
    endpoints,
    kill,
    ledger,
    migrate,
    models,
    plan,
    runs,
    serve,
    tco,
    tune,
)
from tradewind.cli.output import Where
from tradewind.errors import StorageError, TradewindError
from tradewind.progress import print_line

DEBUG = "--debug"
INTERRUPTED = 130

app = typer.Typer(
    name="tradewind",
    help="One AI platform on Ray: datasets, training, models, endpoints and what they cost, in one workspace.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
    workspace: Where = None,
    _debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of an error. May stand anywhere.")] = False,
) -> None:
    if version:
        print(tradewind.__version__)  # noqa: T201
        raise typer.Exit
    if workspace:
        os.environ["TRADEWIND_WORKSPACE"] = workspace


app.command("demo")(demo.demo)
app.command("offers")(catalog.offers)
app.command("plan")(plan.plan)
app.command("train")(runs.train)
app.add_typer(serve.app, name="serve")
app.add_typer(ledger.app, name="usage")
app.add_typer(budgets.app, name="budgets")
app.add_typer(catalog.app, name="catalog")
cluster.app.command("status")(cluster_status.status)
cluster.app.command("sweep")(cluster_status.sweep)
app.add_typer(cluster.app, name="cluster")
chaos.app.command("kill")(kill.kill)
app.add_typer(chaos.app, name="chaos")
app.add_typer(datasets.app, name="datasets")
app.add_typer(runs.app, name="runs")
app.add_typer(models.app, name="models")
app.add_typer(endpoints.app, name="endpoints")
app.add_typer(autoscale.app, name="autoscale")
app.add_typer(tune.app, name="tune")
app.add_typer(tco.app, name="tco")
app.add_typer(migrate.app, name="migrate")


def main() -> None:
    """Run the command line. Exits with 2 when the request was at fault, 1 for a failure, 130 after Ctrl-C."""
    arguments = sys.argv[1:]
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app([word for word in arguments if word != DEBUG], prog_name=os.path.basename(sys.argv[0]))  # noqa: PTH119
    except TradewindError as exc:
        _fail(exc, exc, arguments)
    except OSError as exc:
        problem = f"{exc.filename or 'this machine'}: {exc.strerror or exc}"
        _fail(StorageError(problem, hint="free space or check rights"), exc, arguments)
    except SystemExit as exc:
        if exc.code == INTERRUPTED:  # what typer makes of a KeyboardInterrupt
            print_line("interrupted; everything written so far is kept")
        raise
    except Exception as exc:  # noqa: BLE001 - the outermost place: what nobody foresaw is told without a traceback
        problem = f"{type(exc).__name__}: {exc}"
        _fail(TradewindError(problem, hint="this is a fault in tradewind; --debug shows where"), exc, arguments)


def _interrupt(*_: object) -> None:
    """A polite request to end, as from `timeout` or a service manager, is treated like Ctrl-C."""
    raise KeyboardInterrupt


def _fail(error: TradewindError, cause: Exception, arguments: list[str]) -> None:
    """Say what went wrong and leave; with `--debug`, where it was as well."""
    if DEBUG in arguments:
        traceback.print_exception(cause)
    if "--json" in arguments:
        print_line(json.dumps(error.to_dict()))
    else:
        print_line(f"error: {error.message}")
        for ranks, text in _causes(error):
            print_line(f"  {ranks}: {text}")
        for miss in getattr(error, "misses", ()):
            print_line(f"  nearest: {miss}")
        if error.hint:
            print_line(f"hint: {error.hint}")
    sys.exit(error.exit_code)


def _causes(error: TradewindError) -> Iterator[tuple[str, str]]:
    """What ranks say beside the message, each text once: `rank 2`, `4 ranks from 0`."""
    said: dict[str, list[int]] = {}
    for rank, text in sorted(getattr(error, "failures", {}).items()):
        if text.partition(": ")[2] not in error.message or ": " not in text:
            said.setdefault(text, []).append(rank)
    for text, ranks in said.items():
        yield f"rank {ranks[0]}" if len(ranks) == 1 else f"{len(ranks)} ranks from {ranks[0]}", text
