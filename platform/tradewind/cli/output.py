"""What commands print: tables for people, JSON for programs. Results on standard output, progress on standard error."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel

from tradewind.errors import SpecError

if TYPE_CHECKING:
    from tradewind.workspace import Report

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Where = Annotated[
    str | None,
    typer.Option("--workspace", "-w", envvar="TRADEWIND_WORKSPACE", help="Folder or URL; default ~/.tradewind."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


WIDTH_OF_FILES = 160
"""Columns where the output is no terminal and so has no width."""


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows under a title, or a sentence when there are none. Numbers stand on the right."""
    from rich.console import Console
    from rich.table import Table

    cells = [[_cell(value) for value in row] for row in rows]
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH_OF_FILES
    if not cells:
        console.print(empty, markup=False)
        return
    drawn = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    drawn.padding = (0, 1, 0, 0)
    for index, column in enumerate(columns):
        numeric = _numeric(row[index] for row in cells)
        drawn.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for row in cells:
        drawn.add_row(*row)
    console.print(drawn)


def facts(title: str, values: Mapping[str, object]) -> None:
    """Print names and values, one a line."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False)
    for name, value in values.items():
        drawn.add_row(Text(name, style="dim"), Text(_cell(value)))
    Console().print(drawn)


def as_json(value: BaseModel | Sequence[BaseModel] | Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
    """Print records or plain data as one JSON document."""
    typer.echo(json.dumps(_plain(value), indent=1))


def write_file(path: Path, text: str) -> None:
    """Write a page where the user wants it. Raises SpecError."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise SpecError(
            f"{path} cannot be written: {exc.strerror}", hint="name a file in a folder that exists"
        ) from exc


def page(made: Report, output: Path | None, *, json: bool) -> None:
    """Say where a report is; `output` gets a copy of it."""
    if output:
        write_file(output, made.html)
    if json:
        as_json({"url": made.url, "path": str(made.path) if made.path else None})
    else:
        typer.echo(str(output or made.path or made.url))


def numbers(pairs: Iterable[str], *, example: str) -> dict[str, float]:
    """What `--set NAME=VALUE` said. Raises SpecError."""
    found = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            found[name.strip()] = float(text)
        except ValueError as exc:
            raise SpecError(f"--set {pair}: {text!r} is no number", hint=f"write --set {example}") from exc
    return found


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is spent or destroyed. Raises SpecError where nobody can be asked."""
    import sys

    if yes:
        return
    if not sys.stdin.isatty():
        raise SpecError(f"{question} needs a yes", hint="add --yes")
    typer.confirm(question, abort=True)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [_plain(item) for item in value] if isinstance(value, Sequence) and not isinstance(value, str) else value


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _numeric(cells: Iterable[str]) -> bool:
    return all(cell[:1].isdigit() or cell[:1] in "$–" for cell in cells)
