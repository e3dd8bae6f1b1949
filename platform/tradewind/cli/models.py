"""`tw models`: the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tradewind.cli.output import Json, Where, as_json, facts, table
from tradewind.errors import NotFoundError
from tradewind.units import format_bytes, format_count

app = typer.Typer(no_args_is_help=True, help="The registry: list, show, register, promote, export.")
Reference = Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]", help="A model; alone the newest version.")]


@app.command("list")
def list_(workspace: Where = None, json: Json = False) -> None:
    """All versions of all models."""
    from tradewind.workspace import Workspace

    registry = Workspace(workspace).models
    found = list(registry.list())
    if json:
        as_json(found)
        return
    aliases = {name: registry.aliases(name) for name in {one.name for one in found}}
    rows = [
        (f"{one.name}@{one.version}",
         ", ".join(alias for alias, version in aliases[one.name].items() if version == one.version),
         f"{one.created_at:%Y-%m-%d %H:%M}", format_count(one.parameters), one.context, one.heldout_loss)
        for one in found
    ]  # fmt: skip
    columns = ("model", "aliases", "made (UTC)", "parameters", "context", "held-out loss")
    table("models", columns, rows, empty="no models yet; register one: tw models register RUN --name NAME")


@app.command()
def show(model: Reference, workspace: Where = None, json: Json = False) -> None:
    """What a model is, what it came from, and which files it has."""
    from tradewind.workspace import Workspace

    record = Workspace(workspace).models.get(model).record
    if json:
        as_json(record)
        return
    facts(
        f"{record.name}@{record.version}",
        {
            "made (UTC)": f"{record.created_at:%Y-%m-%d %H:%M:%S}",
            "family": record.family,
            "parameters": f"{record.parameters:,}",
            "context": f"{record.context} tokens",
            "held-out loss": record.heldout_loss,
            "from": ", ".join(record.parents),
            **{f"file {name}": format_bytes(file.num_bytes) for name, file in record.files.items()},
        },
    )


@app.command()
def register(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name of a run, or `last`.")],
    name: Annotated[str, typer.Option("--name", help="Name of the model.")],
    alias: Annotated[str | None, typer.Option("--alias", help="Let this alias mean the new version.")] = None,
    step: Annotated[int | None, typer.Option("--step", help="A checkpoint; default the best one.")] = None,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Export a run's best checkpoint as Hugging Face files and store them as the next version of a model."""
    from tradewind.workspace import Workspace

    place = Workspace(workspace)
    found = place.runs.get(run)
    chosen = next((one for one in found.checkpoints if one.step == step), None) if step is not None else found.best
    if chosen is None:
        steps = ", ".join(str(one.step) for one in found.checkpoints)
        raise NotFoundError(f"{found.name} has no checkpoint at step {step}", hint=f"there are: {steps or 'none'}")
    model = place.models.register(chosen, name=name, alias=alias)
    if json:
        as_json(model.record)
    else:
        typer.echo(f"{model.reference}{f' is {name}@{alias}' if alias else ''}")


@app.command()
def promote(
    model: Reference,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="The alias, like `prod`.")],
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Let an alias mean a version. What it meant before stays in its history."""
    from tradewind.workspace import Workspace

    move = Workspace(workspace).models.promote(model, alias=alias)
    if json:
        as_json(move)
    else:
        typer.echo(f"{move.name}@{move.alias} is {move.name}@{move.version}")


@app.command()
def export(
    model: Reference,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder for the Hugging Face files.")],
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Write a model's files, verified, into a folder that `transformers` loads."""
    from tradewind.workspace import Workspace

    found = Workspace(workspace).models.get(model)
    found.export(folder)
    if json:
        as_json({"model": found.reference, "folder": str(folder), "files": sorted(found.record.files)})
    else:
        typer.echo(f"{found.reference} is in {folder}")
