"""`tw chaos kill`: end a worker of a run, with or without warning."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from tradewind.cli.output import Json, Where, as_json


def kill(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name of a run, or `last`.")],
    rank: Annotated[int | None, typer.Option("--rank", min=0, help="Which worker; default any one.")] = None,
    notice: Annotated[
        float, typer.Option("--notice", min=0, metavar="SECONDS", help="Warn its machine so long before.")
    ] = 0.0,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """End a worker of a run with SIGKILL, to see that the run goes on without it."""
    from tradewind.training.driving import kill as drill
    from tradewind.workspace import Workspace

    worker = drill.choose(Workspace(workspace).runs.get(run), rank)
    if notice:
        drill.announce(worker, notice_s=notice)
        time.sleep(notice)
    was_there = drill.kill(worker)
    if notice:
        drill.withdraw(worker)
    if json:
        as_json({**worker.model_dump(mode="json"), "killed": was_there})
        return
    said = "was killed" if was_there else "had left before"
    typer.echo(f"rank {worker.rank}, process {worker.pid} on {worker.host}, {said}")
