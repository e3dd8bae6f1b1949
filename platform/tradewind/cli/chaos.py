"""`tw chaos`: what goes wrong by itself one day, done on purpose and now."""

from __future__ import annotations

from typing import Annotated

import typer

from tradewind.errors import SpecError
from tradewind.units import parse_seconds

app = typer.Typer(no_args_is_help=True, help="Drills: see what happens before it does by itself.")


@app.command()
def notice(
    warning: Annotated[str | None, typer.Argument(metavar="TIME", help="Until the machine ends, like 30s.")] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take back a notice of before instead.")] = False,
) -> None:
    """Have this machine's sentinel act as if the cloud took the machine back."""
    from tradewind.clusters.sentinel.drill import end_drill, raise_drill

    if (warning is None) == (not withdraw):
        raise SpecError("either a time or --withdraw is needed", hint="like `tw chaos notice 30s`")
    if warning is None:
        end_drill()
        typer.echo("no notice holds here")
        return
    try:
        warning_s = parse_seconds(warning)
    except ValueError as exc:
        raise SpecError(f"TIME: {exc}", hint="like `tw chaos notice 30s`") from exc
    raised = raise_drill(warning_s)
    typer.echo(f"this machine ends in {raised.remaining_s():.0f} s; `tw chaos notice --withdraw` takes it back")
