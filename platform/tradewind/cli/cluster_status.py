"""`tw cluster status` and `tw cluster sweep`: what of a cluster is alive, and ending what nobody will give back."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradewind.cli.output import Json, Yes, as_json, confirm, table
from tradewind.errors import CloudError, SpecError
from tradewind.units import format_seconds, format_usd

if TYPE_CHECKING:
    from tradewind.clusters.hybrid.provider import HybridNodeProvider
    from tradewind.clusters.hybrid.status import Alive, BackendState, ClusterState
    from tradewind.clusters.hybrid.sweep import Leak

ON_HEAD = Path("~/ray_bootstrap_config.yaml")
"""What Ray leaves on the head."""

File = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="The file of `ray up`; on the head, none is needed.")
]


def status(file: File = None, json: Json = False) -> None:
    """What is alive, where, at which price, since when, and why it was chosen."""
    from tradewind.clusters.hybrid.status import cluster_state

    state = cluster_state(_open(file))
    if json:
        as_json(_plain(state))
        return
    columns = ("node", "what", "state", "place", "machine", "market", "$/h", "since", "ends in", "why")
    table(state.cluster, columns, map(_row, state.alive), empty=f"nothing of {state.cluster} is alive")
    typer.echo(_sum(state))
    for backend in state.backends:
        if backend.trouble:
            typer.echo(_trouble(backend))
    for decision in state.decisions:
        typer.echo(f"{decision.created_at:%Y-%m-%d %H:%M:%S} {decision.action} {decision.subject}: {decision.reason}")


def sweep(
    file: File = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be ended.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """End machines that carry the cluster's tag and that nobody will give back. Exits with 1 if a cloud fails."""
    provider = _open(file)
    found = provider.sweep(dry_run=True)
    ended = found
    if found.ended and not dry_run:
        confirm(f"{len(found.ended)} leaks of {provider.cluster_name} will be ended.", yes=yes)
        ended = provider.sweep()
        provider.journal.flush(10.0)
    if json:
        problems = [problem.to_dict() for problem in ended.problems]
        as_json({"dry_run": dry_run, "ended": [asdict(leak) for leak in ended.ended], "problems": problems})
    else:
        title = "would be ended" if dry_run else "ended"
        table(title, ("node", "$/h", "why"), map(_leak, ended.ended), empty="nothing has leaked")
    if ended.problems:
        said = "; ".join(problem.message for problem in ended.problems)
        raise CloudError(f"not all was looked at or ended: {said}", hint="run it again")


def _open(file: Path | None) -> HybridNodeProvider:
    from tradewind.clusters.hybrid.status import open_cluster
    from tradewind.specs.document import Document

    path = file or ON_HEAD.expanduser()
    if file is None and not path.exists():
        raise SpecError("which cluster?", hint="name the file of `ray up`; only the head knows without")
    return open_cluster(Document.read(path).values, name=str(path))


def _row(machine: Alive) -> tuple[object, ...]:
    from tradewind.clusters.hybrid.status import left_s

    left = left_s(machine)
    price = None if machine.usd_per_hour is None else format_usd(machine.usd_per_hour)
    age = None if machine.since is None else format_seconds(max(0.0, time.time() - machine.since))
    what = machine.kind if machine.kind == "head" else machine.node_type
    ends = None if left is None else format_seconds(left)
    return (
        machine.node,
        what,
        machine.state,
        machine.place,
        machine.machine,
        machine.market,
        price,
        age,
        ends,
        machine.why,
    )


def _sum(state: ClusterState) -> str:
    cap = "" if state.max_usd_per_hour is None else f" of at most {format_usd(state.max_usd_per_hour)}"
    return f"{len(state.alive)} machines, {format_usd(state.usd_per_hour)} an hour{cap}; records in {state.records}"


def _trouble(backend: BackendState) -> str:
    seen = "never seen" if backend.age_s is None else f"last seen {format_seconds(backend.age_s)} ago"
    return f"trouble with {backend.name} ({seen}): {backend.trouble}"


def _leak(leak: Leak) -> tuple[object, ...]:
    return leak.node, format_usd(leak.usd_per_hour), leak.reason


def _plain(state: ClusterState) -> dict[str, Any]:
    return {
        "cluster": state.cluster,
        "usd_per_hour": state.usd_per_hour,
        "max_usd_per_hour": state.max_usd_per_hour,
        "records": state.records,
        "machines": [asdict(machine) for machine in state.alive],
        "backends": [asdict(backend) for backend in state.backends],
        "decisions": [decision.model_dump(mode="json") for decision in state.decisions],
    }
