"""`tw datasets`: make versions of datasets, look at them, check them."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tradewind.cli import copies, tiers
from tradewind.cli.output import Json, Where, as_json, facts, table
from tradewind.units import format_bytes, format_count

app = typer.Typer(no_args_is_help=True, help="Dataset versions: add, list, show, verify.")
Reference = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="A dataset; without a version the newest.")]


@app.command()
def add(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A YAML file with `kind: dataset`.")],
    on: Annotated[
        Literal["local", "ray"] | None,
        typer.Option(help="Where text is read: in this process or as a Ray job; by default its size decides."),
    ] = None,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Read text, train a tokenizer, and write the next version of a dataset."""
    from tradewind.specs import DatasetSpec
    from tradewind.workspace import Workspace

    wish = DatasetSpec.load(spec)
    record = Workspace(workspace).datasets.add(wish, on=on).record
    if json:
        as_json(record)
    else:
        again = f", {record.duplicates} more were duplicates" if record.duplicates else ""
        made = f"{format_count(record.tokens)} tokens from {record.documents} documents"
        typer.echo(f"{record.name}@{record.version}: {made}{again}")


@app.command("list")
def list_(workspace: Where = None, json: Json = False) -> None:
    """All versions of all datasets."""
    from tradewind.workspace import Workspace

    found = list(Workspace(workspace).datasets.list())
    if json:
        as_json(found)
        return
    rows = [
        (f"{one.name}@{one.version}", f"{one.created_at:%Y-%m-%d %H:%M}", one.documents, format_count(one.tokens),
         one.tokenizer.vocabulary if one.tokenizer else "", format_bytes(one.text_bytes))
        for one in found
    ]  # fmt: skip
    columns = ("dataset", "made (UTC)", "documents", "tokens", "vocabulary", "text")
    table("datasets", columns, rows, empty="no datasets yet; make one: tw datasets add SPEC")


@app.command()
def show(dataset: Reference, workspace: Where = None, json: Json = False) -> None:
    """What a version holds."""
    from tradewind.workspace import Workspace

    record = Workspace(workspace).datasets.get(dataset).record
    if json:
        as_json(record)
        return
    splits = {
        f"split {name}": f"{format_count(split.tokens)} tokens in {split.documents} documents"
        for name, split in record.splits.items()
    }
    facts(
        f"{record.name}@{record.version}",
        {
            "made (UTC)": f"{record.created_at:%Y-%m-%d %H:%M:%S}",
            "text": format_bytes(record.text_bytes),
            **splits,
            "token type": record.dtype,
            **(
                {"tokenizer": f"{file.vocabulary} tokens, sha256 {file.sha256[:12]}…"}
                if (file := record.tokenizer)
                else {}
            ),
        },
    )


@app.command()
def verify(dataset: Reference, workspace: Where = None, json: Json = False) -> None:
    """Read every byte of a version and compare it with its checksum."""
    from tradewind.workspace import Workspace

    found = Workspace(workspace).datasets.get(dataset)
    count = found.verify()
    if json:
        as_json({"dataset": found.reference, "bytes": count, "whole": True})
    else:
        typer.echo(f"{found.reference} is whole: {format_bytes(count)} checked")


app.add_typer(copies.app)
app.add_typer(tiers.app)
