"""`tw serve` and `tw endpoints`."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradewind.cli.output import Json, Where, Yes, as_json, confirm, table
from tradewind.progress import print_line

if TYPE_CHECKING:
    from tradewind.serving import Endpoint
    from tradewind.specs import ServeSpec

app = typer.Typer(no_args_is_help=True, help="Endpoints: list, stop.")


def serve(
    what: Annotated[str, typer.Argument(metavar="SPEC|MODEL", help="A YAML file with `kind: serve`, or name@alias.")],
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Port to listen on; default the spec's, or 8000.")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on; default 127.0.0.1.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Serve in the background and return.")] = False,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Serve a model behind an OpenAI-compatible API."""
    from tradewind import serving
    from tradewind.cli import background
    from tradewind.clusters import is_local
    from tradewind.workspace import Workspace

    spec = _spec(what, port=port, host=host)
    with Workspace(workspace) as place:
        if detach and is_local():
            serving.check(place.store, spec)
            _say(background.start(place, spec), json=json, how=f"stop it: tw endpoints stop {spec.name}")
            return
        endpoint = place.serve(spec)
        if endpoint.record.process is None:
            _say(endpoint, json=json, how=f"the cluster holds it; stop it: tw endpoints stop {spec.name}")
            return
        _say(endpoint, json=json, how="stop it: Ctrl-C")
        _until_told()
    print_line(f"{spec.name} is down")


@app.command("list")
def list_(workspace: Where = None, json: Json = False) -> None:
    """Every endpoint that was ever up, in its newest state."""
    from tradewind.workspace import Workspace

    found = list(Workspace(workspace).endpoints.list())
    if json:
        as_json([{**one.record.model_dump(mode="json"), "status": "up" if one.is_up else "down"} for one in found])
        return
    rows = [
        (one.name, "up" if one.is_up else "down", one.url, one.record.model, one.record.engine,
         f"{one.record.created_at:%Y-%m-%d %H:%M}")
        for one in found
    ]  # fmt: skip
    columns = ("endpoint", "status", "url", "model", "engine", "since (UTC)")
    table("endpoints", columns, rows, empty="no endpoints yet; start one: tw serve MODEL")


@app.command()
def stop(
    name: Annotated[str, typer.Argument(metavar="ENDPOINT", help="Name of the endpoint.")],
    workspace: Where = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Take an endpoint down."""
    from tradewind.workspace import Workspace

    endpoint = Workspace(workspace).endpoints.get(name)
    if endpoint.is_up:
        confirm(f"stopping endpoint {name!r} at {endpoint.url}", yes=yes)
    endpoint.stop()
    if json:
        as_json({"endpoint": name, "status": "down"})
    else:
        typer.echo(f"{name} is down")


def _spec(what: str, *, port: int | None, host: str | None) -> ServeSpec:
    from tradewind.specs import Reference, ServeSpec

    changes: dict[str, Any] = {key: value for key, value in {"port": port, "host": host}.items() if value is not None}
    if what.endswith((".yaml", ".yml")) or Path(what).is_file():
        return ServeSpec.load(what).with_values(**changes)
    return ServeSpec.of(name=Reference.parse(what).name, model=what, **changes)


def _say(endpoint: Endpoint, *, json: bool, how: str) -> None:
    if json:
        as_json(endpoint.record)
    else:
        typer.echo(f"{endpoint.record.model} answers at {endpoint.url}/v1\n\n  {endpoint.curl()}\n\n{how}")


def _until_told() -> None:
    """Wait for Ctrl-C or a polite request to end."""
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    while not told.wait(1.0):
        continue
