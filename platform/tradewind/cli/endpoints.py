"""`tw serve` and `tw endpoints`."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradewind.cli.output import Json, Where, Yes, as_json, confirm, facts, table
from tradewind.errors import SpecError
from tradewind.progress import print_line

if TYPE_CHECKING:
    from tradewind.serving import Endpoint
    from tradewind.specs import ServeSpec
    from tradewind.workspace import Workspace

app = typer.Typer(no_args_is_help=True, help="Endpoints: list, show, stop.")


def serve(
    what: Annotated[
        str, typer.Argument(metavar="SPEC|MODEL", help="A file of Ray Serve or with `kind: serve`, or name@alias.")
    ],
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Port to listen on; default the spec's, or 8000.")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on; default 127.0.0.1.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Serve in the background and return.")] = False,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Serve models behind an OpenAI-compatible API."""
    from tradewind.workspace import Workspace

    specs = _specs(what, port=port, host=host)
    with Workspace(workspace or specs[0].workspace) as place:
        if detach and _is_local():
            _detach(place, specs, json=json)
            return
        endpoints = [place.serve(spec) for spec in specs]
        held = [endpoint for endpoint in endpoints if endpoint.record.process is not None]
        for endpoint in endpoints:
            how = "stop it: Ctrl-C" if held else f"the cluster holds it; stop it: tw endpoints stop {endpoint.name}"
            _say(endpoint, json=json, how=how)
        if not held:
            return
        _until_told()
    print_line(f"{', '.join(spec.name for spec in specs)} is down" if len(specs) == 1 else "all endpoints are down")


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="ENDPOINT", help="Name of the endpoint.")],
    workspace: Where = None,
    json: Json = False,
) -> None:
    """One endpoint: where it answers, how it came up, and its replicas as they are now."""
    from tradewind.workspace import Workspace

    endpoint = Workspace(workspace).endpoints.get(name)
    replicas = endpoint.replicas() if endpoint.is_up else []
    if json:
        state = "up" if endpoint.is_up else "down"
        as_json({**endpoint.record.model_dump(mode="json"), "status": state, "replicas": replicas})
        return
    record = endpoint.record
    started = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in record.phases.items())
    since = f"{'up' if endpoint.is_up else 'down'} since {record.created_at:%Y-%m-%d %H:%M} UTC"
    told = {"state": since, "url": record.url, "model": record.model, "engine": record.engine}
    facts(f"endpoint {name}", {**told, "start": started or "not measured"})
    rows = [
        (one["replica"], one["status"], one["url"], f"{one['running']}", f"{one['waiting']}",
         f"{one['tokens_in_flight']}", f"{one['tokens_out']}")
        for one in replicas
    ]  # fmt: skip
    columns = ("replica", "status", "url", "running", "waiting", "tokens in flight", "tokens out")
    table("replicas", columns, rows, empty="no replicas")


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


def _specs(what: str, *, port: int | None, host: str | None) -> list[ServeSpec]:
    from tradewind.specs import Reference, ServeSpec

    changes: dict[str, Any] = {key: value for key, value in {"port": port, "host": host}.items() if value is not None}
    if not (what.endswith((".yaml", ".yml")) or Path(what).is_file()):
        return [ServeSpec.of(name=Reference.parse(what).name, model=what, **changes)]
    specs = ServeSpec.load_all(what)
    if port is not None and len(specs) > 1:
        raise SpecError(
            f"{what} has {len(specs)} endpoints, and --port is one port", hint="write the ports in the file"
        )
    return [spec.with_values(**changes) for spec in specs]


def _is_local() -> bool:
    from tradewind.clusters import is_local

    return is_local()


def _detach(place: Workspace, specs: list[ServeSpec], *, json: bool) -> None:
    """Each in a process of its own."""
    from tradewind import serving
    from tradewind.cli import background

    for spec in specs:
        serving.check(place.store, spec)
        _say(background.start(place, spec), json=json, how=f"stop it: tw endpoints stop {spec.name}")


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
