"""`tw train` and `tw runs`: start training, look at runs, write reports."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradewind.cli.output import Json, Where, as_json, facts, page, table
from tradewind.planner.choice.words import range_words
from tradewind.units import format_count, format_seconds, format_usd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradewind.records import CheckpointRecord, Effort, RunWorker
    from tradewind.training import Run
    from tradewind.training.proof import Coverage

app = typer.Typer(no_args_is_help=True, help="Training runs: list, show, logs, stop, resume, verify, report.")
Name = Annotated[str, typer.Argument(metavar="RUN", help="Name of a run, or `last`.")]


def train(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A YAML file with `kind: train`.")],
    on: Annotated[
        str | None, typer.Option("--on", metavar="PLAN[#N]", help="A placement of a plan; without #N the first.")
    ] = None,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Train a model and follow the run to its end."""
    from tradewind.specs import TrainSpec
    from tradewind.workspace import Workspace

    wish = TrainSpec.load(spec)
    with Workspace(workspace) as place:
        run = place.train(wish, on=on).wait()
        _show(run, json=json)


@app.command("list")
def list_(workspace: Where = None, json: Json = False) -> None:
    """All runs, oldest first."""
    from tradewind.workspace import Workspace

    found = [run.summary() for run in Workspace(workspace).runs.list()]
    if json:
        as_json(found)
        return
    rows = [(one.run, one.status, one.dataset, one.steps, format_count(one.tokens), one.heldout_loss) for one in found]
    columns = ("run", "status", "dataset", "steps", "tokens", "held-out loss")
    table("runs", columns, rows, empty="no runs yet; start one: tw train SPEC")


@app.command()
def show(run: Name, workspace: Where = None, json: Json = False) -> None:
    """How a run went: its loss against the baseline, its checkpoints, what it took."""
    from tradewind.workspace import Workspace

    _show(Workspace(workspace).runs.get(run), json=json)


@app.command()
def logs(
    run: Name,
    rank: Annotated[int | None, typer.Option("--rank", min=0, help="Only of this worker.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="So many of the last lines.")] = 200,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    workspace: Where = None,
) -> None:
    """What the workers of a run and its driver have said, also when they are gone."""
    from tradewind.training.logs import LogReader
    from tradewind.workspace import Workspace

    found = Workspace(workspace).runs.get(run)
    reader = LogReader(found.files)
    wanted = [line for line in reader.new() if rank is None or line.who == f"rank {rank}"]
    for line in wanted[-lines:]:
        typer.echo(str(line))
    while follow and found.status == "running":
        time.sleep(1.0)
        for line in reader.new():
            if rank is None or line.who == f"rank {rank}":
                typer.echo(str(line))


@app.command()
def stop(run: Name, workspace: Where = None) -> None:
    """Let a run write a last checkpoint and end; `tw runs resume` goes on with it."""
    from tradewind.workspace import Workspace

    found = Workspace(workspace).runs.get(run)
    found.stop()
    typer.echo(f"{found.name} stops behind its next checkpoint")


@app.command()
def resume(
    run: Name,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Though it seems to run: its driver's machine is known to be gone.")
    ] = False,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Go on with a run from its last checkpoint, as it was begun, and follow it to its end."""
    from tradewind.workspace import Workspace

    with Workspace(workspace) as place:
        found = place.resume(place.runs.get(run), anyway=anyway).wait()
        _show(found, json=json)


@app.command()
def verify(run: Name, workspace: Where = None, json: Json = False) -> None:
    """Prove that a run has read every sample exactly once an epoch, through lost workers and resizes."""
    from tradewind import training
    from tradewind.workspace import Workspace

    proof = training.prove(Workspace(workspace).runs.get(run))
    if json:
        as_json(proof)
        return
    facts(
        f"{proof.run}: proven",
        {
            "read": f"{format_count(proof.samples)} samples, each in its turn",
            **{one.dataset: _read(one) for one in proof.coverage},
            "checkpoints": f"{proof.checkpoints}, all with the certificate that the order gives",
            "restarts": proof.restarts,
            "certificate": proof.certificate,
        },
    )


def _read(one: Coverage) -> str:
    begun, samples = format_count(one.begun), format_count(one.samples)
    if one.epochs == 0:
        return f"{begun} of {samples} samples, once"
    return f"{one.epochs} times all {samples} samples, then {begun} of them once more"


@app.command()
def tensorboard(
    run: Name,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `tensorboard --logdir` is to read.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    workspace: Where = None,
) -> None:
    """Write a run's curves as TensorBoard's event files, below FOLDER."""
    from tradewind.training.tensorboard import write_events
    from tradewind.workspace import Workspace

    found = Workspace(workspace).runs.get(run)
    steps = write_events(found, folder, follow=follow)
    typer.echo(f"{steps} steps of {found.name}; look at them: tensorboard --logdir {folder}")


@app.command()
def report(
    run: Name,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Also write the page to this file.")] = None,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Write a run's report: one HTML page with the loss curve, the model card, the lineage and the ledger."""
    from tradewind.workspace import Workspace

    place = Workspace(workspace)
    made = place.report(place.runs.get(run))
    page(made, output, json=json)


def _show(run: Run, *, json: bool) -> None:
    summary, end, checkpoints = run.summary(), run.end, run.checkpoints
    if json:
        as_json(
            {
                **summary.model_dump(mode="json"),
                "end": end.model_dump(mode="json") if end else None,
                "prediction": said.model_dump(mode="json") if (said := run.record.prediction) else None,
                "workers": [one.model_dump(mode="json") for one in _workers(run)],
                "rollbacks": [one.model_dump(mode="json") for one in run.files.rollbacks()],
                "checkpoints": [{"step": one.step, "heldout_loss": one.heldout_loss} for one in checkpoints],
            }
        )
        return
    facts(
        summary.run,
        {
            "status": f"{summary.status}{': ' + summary.message if summary.message else ''}",
            **({"hint": end.hint} if end and end.hint else {}),
            "dataset": summary.dataset,
            "parameters": format_count(run.record.parameters),
            "steps": f"{summary.steps} ({format_count(summary.tokens)} tokens)",
            "held-out loss": summary.heldout_loss,
            **({"bigram baseline": end.bigram_loss} if end and end.bigram_loss else {}),
            **({"tokens/s": format_count(end.tokens_per_s)} if end else {}),
            "waiting for data": _waited(run),
            "workers": _where(run),
            **(_taken(end.effort) if end and end.effort else {}),
            **_foreseen(run),
            **_went_back(run),
            "checkpoints": ", ".join(_named(one) for one in checkpoints) or "none",
        },
    )


def _named(checkpoint: CheckpointRecord) -> str:
    loss = checkpoint.heldout_loss
    return f"step {checkpoint.step}" + (f" ({loss:.3f})" if loss is not None else "")


def _went_back(run: Run) -> dict[str, object]:
    lines = [f"from step {one.step} to {one.to_step}: {one.reason}" for one in run.files.rollbacks()]
    return {"rollbacks": "\n".join(lines)} if lines else {}


def _workers(run: Run) -> Sequence[RunWorker]:
    """The group that works, or did last."""
    group = run.files.workers()
    return group.workers if group else ()


def _where(run: Run) -> str | None:
    """`0, 1 on quay (processes 71, 72)`, a line for each machine."""
    hosts: dict[str, list[RunWorker]] = {}
    for worker in _workers(run):
        hosts.setdefault(worker.host, []).append(worker)
    lines = (
        f"{', '.join(str(one.rank) for one in there)} on {host} (processes {', '.join(str(one.pid) for one in there)})"
        for host, there in hosts.items()
    )
    return "\n".join(lines) or None


def _waited(run: Run) -> str | None:
    """The share of the steps' time in which workers had nothing to work on."""
    rows = run.metrics()
    seconds = rows[-1].seconds if rows else 0.0
    return f"{sum(row.data_seconds for row in rows) / seconds:.1%} of the time" if seconds else None


def _foreseen(run: Run) -> dict[str, object]:
    """What was predicted when the run began, to compare with what it took."""
    said = run.record.prediction
    if said is None:
        return {}
    where = {"plan": f"{said.plan}, on {said.offer}"} if said.plan else {}
    return {
        **where,
        "predicted time": f"{range_words(said.seconds, format_seconds)}, {said.basis}",
        "predicted tokens/s": range_words(said.tokens_per_s, format_count),
        "predicted cost": range_words(said.usd, format_usd),
    }


def _taken(effort: Effort) -> dict[str, object]:
    return {
        "time": f"{format_seconds(effort.seconds)} ({format_seconds(effort.cpu_seconds)} of processors)",
        "energy": f"{effort.energy_wh:.2f} Wh ({effort.energy_basis})",
        "cost": format_usd(effort.usd),
    }
