"""`tradewind demo`: the whole journey on this machine, from text files to a served model, in a few minutes.

It uses nothing but the SDK, so it is also the shortest example of it.
"""

from __future__ import annotations

import select
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradewind.cli.output import Where
from tradewind.errors import RunError
from tradewind.units import format_count, format_seconds

if TYPE_CHECKING:
    from rich.console import Console

    from tradewind.datasets import Dataset
    from tradewind.serving import Endpoint
    from tradewind.specs import DatasetSpec, ServeSpec, TrainSpec
    from tradewind.training import Run
    from tradewind.workspace import Workspace

NAME = "pystdlib"
PROMPT = "def read(self, size=-1):\n"
TRAINING_S = 90.0
HOLD_S = 60.0
LEDGER_WAIT_S = 15.0


def demo(
    workspace: Where = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=1, max=65535, help="Port of the endpoint; default a free one from 8000 on."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the endpoint up when the demo ends.")] = False,
    training_s: Annotated[
        float, typer.Option("--training-time", min=1, help="Seconds; 30 may be too few.")
    ] = TRAINING_S,
) -> None:
    """The whole journey once, in about three minutes."""
    from rich.console import Console
    from rich.markup import escape

    from tradewind import serving
    from tradewind.specs import ServeSpec
    from tradewind.workspace import Workspace

    console = Console(highlight=False, soft_wrap=True)
    began = time.monotonic()
    chosen = port or serving.free_port()
    serving.check_port("127.0.0.1", chosen)
    with Workspace(workspace) as place:
        where = escape(f"{place.machine.processor}, workspace {place.location}")
        console.print(f"[bold]tradewind demo[/] on {where}")

        heading(console, 1, "dataset", "the source files of Python's standard library become tokens")
        dataset = place.datasets.add(dataset_spec())
        tell_dataset(console, dataset)

        heading(console, 2, "training", f"a small Llama on two workers, for {format_seconds(training_s)}")
        run = place.train(train_spec(dataset.reference, seconds=training_s)).wait()
        tell_run(console, run)
        if training_s >= TRAINING_S and not beats_baseline(run):
            raise RunError("the model does not beat the bigram baseline", hint="train longer: --training-time 180")

        heading(console, 3, "registry", "the best checkpoint becomes a model that transformers loads")
        model = place.models.register(run.best, name=NAME, alias="prod")
        console.print(f"{model.reference} is {NAME}@prod, from step {run.best.step}")

        heading(console, 4, "serving", "the model answers OpenAI's client")
        endpoint = bring_up(place, ServeSpec.of(name=NAME, model=f"{NAME}@prod", port=chosen), keep=keep)
        completion = ask(console, endpoint)

        heading(console, 5, "ledger and report", "what it took, on one page")
        tell_ledger(place, run, endpoint)
        report = place.report(run, sample=(PROMPT, completion))
        console.print(f"\nDone in {format_seconds(time.monotonic() - began)}. Where things are:")
        tell_places(console, place, run, str(report.path or report.url))
        tell_endpoint(console, place, endpoint, keep=keep)


def dataset_spec() -> DatasetSpec:
    from tradewind.specs import DatasetSpec

    left_out = ("site-packages", "test", "tests", "idlelib", "encodings", "pydoc_data", "lib2to3")
    return DatasetSpec.of(
        name=NAME,
        text={"files": ["{stdlib}/**/*.py"], "exclude": [f"*/{folder}/*" for folder in left_out], "max_bytes": "12MB"},
        tokenizer={"vocabulary": 512},
    )


def train_spec(dataset: str, *, seconds: float) -> TrainSpec:
    from tradewind.specs import TrainSpec

    return TrainSpec.of(
        name=NAME,
        dataset=dataset,
        model={"hidden": 128, "layers": 2, "heads": 4, "kv_heads": 2},
        batch={"sequences": 16, "tokens_per_sequence": 128},
        max_steps=100_000,
        max_time_s=seconds,
        checkpoint_every_s=max(1.0, seconds / 3),
        workers=2,
    )


def heading(console: Console, number: int, title: str, text: str) -> None:
    console.print(f"\n[bold cyan]{number}  {title}[/]  [dim]{text}[/]")


def tell_dataset(console: Console, dataset: Dataset) -> None:
    record = dataset.record
    console.print(
        f"{dataset.reference}: {record.documents} documents, {format_count(record.tokens)} tokens, "
        f"{format_count(record.splits['heldout'].tokens)} of them held out"
    )


def tell_run(console: Console, run: Run) -> None:
    end = run.end
    assert end is not None
    assert end.heldout_loss is not None
    assert end.bigram_loss is not None
    verdict = "[green]better than[/]" if beats_baseline(run) else "[red]not better than[/]"
    console.print(
        f"held-out loss [bold]{end.heldout_loss:.3f}[/], {verdict} the bigram baseline [bold]{end.bigram_loss:.3f}[/] "
        f"(nats a token), after {format_count(end.tokens)} tokens"
    )


def beats_baseline(run: Run) -> bool:
    end = run.end
    return bool(end and end.heldout_loss and end.bigram_loss and end.heldout_loss < end.bigram_loss)


def bring_up(place: Workspace, spec: ServeSpec, *, keep: bool) -> Endpoint:
    """The endpoint, in a process of its own when it is to be kept. One that an earlier demo has kept is replaced."""
    from tradewind.cli import background

    for earlier in place.endpoints.list():
        if earlier.name == spec.name and earlier.is_up:
            earlier.stop()
    return background.start(place, spec) if keep else place.serve(spec)


def ask(console: Console, endpoint: Endpoint) -> str:
    """A completion through OpenAI's client, shown as it comes."""
    console.print(f"[dim]{PROMPT}[/]", end="")
    pieces = []
    stream = endpoint.client().completions.create(
        model=f"{NAME}@prod", prompt=PROMPT, max_tokens=96, temperature=0.6, seed=7, stream=True
    )
    for chunk in stream:
        pieces.append(chunk.choices[0].text)
        console.print(pieces[-1], end="", markup=False)
    console.print()
    return "".join(pieces)


def tell_ledger(place: Workspace, run: Run, endpoint: Endpoint) -> None:
    """Print the ledger of this journey, once the replica has written its row."""
    from tradewind.cli.ledger import usage_table

    subjects = (f"dataset:{run.record.dataset}", f"run:{run.name}", f"endpoint:{endpoint.name}")
    deadline = time.monotonic() + LEDGER_WAIT_S
    while True:
        since = run.record.created_at
        rows = [
            row
            for row in place.usage()
            if row.subject in subjects and (row.created_at > since or row.activity == "dataset")
        ]
        if any(row.activity == "serving" for row in rows) or time.monotonic() > deadline:
            break
        time.sleep(0.3)
    usage_table(rows)


def tell_places(console: Console, place: Workspace, run: Run, report: str) -> None:
    places = {
        "report": report,
        "model": f"{command(place, f'models export {NAME}@prod FOLDER')}   (Hugging Face files)",
        "run": command(place, f"runs show {run.name}"),
        "workspace": f"{place.location}   (each demo adds a version to it)",
    }
    for name, where in places.items():
        console.print(f"  {name:<10} {where}", markup=False)


def tell_endpoint(console: Console, place: Workspace, endpoint: Endpoint, *, keep: bool) -> None:
    """Say how to reach the endpoint and how to stop it; in a terminal, leave time to try it."""
    asked = sys.stdin.isatty() and sys.stdout.isatty()
    if keep:
        state = f"{endpoint.url}/v1, up until: {command(place, f'endpoints stop {NAME}')}"
    elif asked:
        state = f"{endpoint.url}/v1, up for {HOLD_S:.0f} s or until you press Enter; try it from another terminal"
    else:
        again = command(place, f"serve {NAME}@prod --port {endpoint.record.spec['port']}")
        state = f"stopped. Start it again, and the line below works: {again}"
    console.print(f"  {'endpoint':<10} {state}\n\n  {endpoint.curl()}\n", markup=False)
    if not keep:
        console.print("`tradewind demo --keep` leaves the endpoint up when it ends.", markup=False)
        select.select([sys.stdin] if asked else [], [], [], HOLD_S if asked else 0)


def command(place: Workspace, arguments: str) -> str:
    """A command line for this installation and this workspace, as it can be typed in this folder."""
    from tradewind.storage.home import default_url

    program = Path(sys.executable).with_name("tw")
    if shutil.which("tw") == str(program):
        name = "tw"
    else:
        name = str(program.relative_to(Path.cwd())) if program.is_relative_to(Path.cwd()) else str(program)
    return (
        f"{name} {arguments}"
        if place.location == default_url()
        else f"{name} {arguments} -w {shlex.quote(place.location)}"
    )
