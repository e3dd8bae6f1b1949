"""`tw cluster`: files for `ray up` and KubeRay from a spec, what is unsafe in such files, and what is missing here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradewind.cli.output import Json, Where, as_json, write_file
from tradewind.errors import SpecError

if TYPE_CHECKING:
    from tradewind.clusters.lint import Finding

app = typer.Typer(no_args_is_help=True, help="Ray clusters: render their files, check them, look after them.")

SPEC_SUFFIX = ".spec.yaml"


@app.command()
def render(
    spec: Annotated[Path | None, typer.Argument(metavar="SPEC", help="A YAML file with `kind: cluster`.")] = None,
    plan: Annotated[str | None, typer.Option("--plan", help="A plan instead, like PLAN or PLAN#2.")] = None,
    folder: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="Default: beside SPEC.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail where a file is not what it would be.")
    ] = False,
    workspace: Where = None,
) -> None:
    """Write the files that `ray up` or `kubectl apply` take."""
    files = _from_plan(plan, workspace) if plan else _from_spec(spec, workspace)
    target = folder or (spec.parent if spec else Path())
    if check:
        _check(files, target)
        return
    for name, text in files.items():
        write_file(target / name, text)
        typer.echo(f"{target / name}: {len(text.splitlines())} lines")


@app.command()
def lint(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Files for `ray up`, or manifests of Kubernetes.")
    ],
    json: Json = False,
) -> None:
    """Name what is unsafe or would be ignored, by file and line, with what to do. Exits with 1 for an error."""
    from tradewind.clusters.lint import lint as examine

    found = [finding for file in files for finding in examine(file)]
    if json:
        as_json([finding.to_dict() for finding in found])
    else:
        for finding in found:
            typer.echo(str(finding))
        typer.echo(_summary(found, len(files)))
    if any(finding.rule.severity == "error" for finding in found):
        raise typer.Exit(1)


@app.command()
def doctor(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A file for `ray up`; default this machine alone.")
    ] = None,
    json: Json = False,
) -> None:
    """Find what would fail, before anything is paid: libraries, credentials, hosts, keys, versions. Exits with 1."""
    from tradewind.clusters.doctor import examine

    answers = examine(file)
    if json:
        as_json([answer.to_dict() for answer in answers])
    else:
        for answer in answers:
            typer.echo(str(answer))
    if any(answer.state == "problem" for answer in answers):
        raise typer.Exit(1)


def _from_spec(path: Path | None, workspace: str | None) -> Mapping[str, str]:
    from tradewind.clusters.render import blueprint, render
    from tradewind.specs import ClusterSpec
    from tradewind.specs.document import Document
    from tradewind.workspace import Workspace

    if path is None:
        raise SpecError("no spec and no plan is given", hint="tw cluster render SPEC, or --plan PLAN")
    ClusterSpec.load(path)
    document = Document.read(path)
    spec = ClusterSpec.from_document(document)
    cluster = blueprint(spec, Workspace(workspace).catalog, at=document.place)
    return render(cluster, name=path.name.removesuffix(SPEC_SUFFIX).removesuffix(".yaml"))


def _from_plan(reference: str, workspace: str | None) -> Mapping[str, str]:
    from tradewind.clusters.render import blueprint, of_placement, render
    from tradewind.workspace import Workspace

    place = Workspace(workspace)
    placement, record = place.plans.placement(reference)
    spec = of_placement(placement, record, place.catalog)
    name = spec.name
    return {f"{name}{SPEC_SUFFIX}": spec.to_yaml(), **render(blueprint(spec, place.catalog), name=name)}


def _check(files: Mapping[str, str], folder: Path) -> None:
    wrong = [str(folder / name) for name, text in files.items() if _text(folder / name) != text]
    if wrong:
        raise SpecError(
            f"{', '.join(wrong)}: not what the spec is rendered to", hint="render again, and look at the change"
        )
    typer.echo(f"{len(files)} files are what the spec is rendered to")


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _summary(found: Iterable[Finding], count: int) -> str:
    severities = [finding.rule.severity for finding in found]
    errors, warnings = severities.count("error"), severities.count("warning")
    return f"{_counted(count, 'file')}: {_counted(errors, 'error')}, {_counted(warnings, 'warning')}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
