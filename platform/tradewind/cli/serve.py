"""`tw serve`: bring endpoints up, or find the settings with which one keeps its goals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from tradewind.cli import endpoints
from tradewind.cli.output import Json, Where, as_json, table, write_file
from tradewind.progress import print_line

if TYPE_CHECKING:
    from tradewind.serving.trials import Found, Goals, Point
    from tradewind.specs import ServeSpec

START = "start"


class Group(TyperGroup):
    """`tw serve WHAT` is short for `tw serve start WHAT`, its options too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [START, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Serve models behind an OpenAI-compatible API: `tw serve SPEC|MODEL`; `tw serve tune SPEC` finds settings.",
)
app.command(START)(endpoints.serve)


@app.command()
def tune(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A file of Ray Serve or with `kind: serve`.")],
    ttft_s: Annotated[
        float | None, typer.Option("--ttft-s", help="Bound on the p95 of the time to the first token; default: spec.")
    ] = None,
    itl_s: Annotated[
        float | None, typer.Option("--itl-s", help="Bound on the p95 of the time between tokens; default: spec.")
    ] = None,
    clients: Annotated[int, typer.Option("--clients", min=1, help="Requests that are open all the time.")] = 16,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Settings that are measured, at most.")] = 12,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, help="Of each measurement; the warm-up takes as long at most.")
    ] = 10.0,
    write: Annotated[
        Path | None, typer.Option("--write", help="Write the spec with the settings here, if they keep the goals.")
    ] = None,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Measure settings of an endpoint under load, on this machine, and say which keeps the goals. Exits with 1 if none.

    Without goals, here and in the spec, it is the knee: where more requests at once bring less than they cost.
    """
    from tradewind.specs import ServeSpec
    from tradewind.workspace import Workspace

    wish = ServeSpec.load(spec)
    with Workspace(workspace or wish.workspace) as place:
        found = place.endpoints.tune(
            wish, goals=_goals(wish, ttft_s, itl_s), clients=clients, trials=trials, seconds=seconds
        )
    if json:
        as_json(_plain(found))
    else:
        _show(found)
    if found.misses:
        raise typer.Exit(1)
    if write:
        write_file(write, _written(Path(spec), wish, found))
        print_line(f"written: {write}")


def _goals(spec: ServeSpec, ttft_s: float | None, itl_s: float | None) -> Goals:
    from tradewind.serving.trials import Goals

    own = Goals.of(spec)
    return Goals(own.ttft_s if ttft_s is None else ttft_s, own.itl_s if itl_s is None else itl_s)


def _show(found: Found) -> None:
    load, front = found.load, found.front
    knobs = sorted({name for point in found.points for name, _ in point.setting.knobs})
    rows = [_row(point, knobs, _marks(point, found, front)) for point in found.points]
    columns = (
        "trial", "max_concurrency", *knobs, "tok/s", "TTFT p50", "p95", "ITL p50", "p95", "answer p95", "answers", ""
    )  # fmt: skip
    lengths = f"{load.tokens_in} + {load.tokens_out} tokens, {load.seconds:g} s each, measured on {found.machine.host}"
    table(f"{found.spec.name}: {load.clients} clients, {lengths}", columns, rows, empty="")
    typer.echo(f"\n{_verdict(found)}")


def _row(point: Point, knobs: list[str], marks: str) -> tuple[object, ...]:
    from tradewind.units import format_latency

    given, seen = dict(point.setting.knobs), point.figures
    head = (f"{point.number}", f"{point.setting.max_concurrency}", *(given.get(name) for name in knobs))
    if seen is None:
        return (*head, *(None,) * 6, "0", marks)
    times = (seen.ttft_p50_s, seen.ttft_p95_s, seen.itl_p50_s, seen.itl_p95_s, seen.answer_p95_s)
    return (*head, f"{seen.tokens_per_s:.0f}", *map(format_latency, times), f"{seen.answers}", marks)


def _marks(point: Point, found: Found, front: list[Point]) -> str:
    said = {
        "chosen": point == found.chosen,
        "knee": point == found.knee,
        "front": point in front,
        "the spec as it is": point == found.points[0],
        f"failed: {(point.failure or '').partition(chr(10))[0]}": point.failure is not None,
    }
    return ", ".join(word for word, holds in said.items() if holds)


def _verdict(found: Found) -> str:
    """What to do, and the lines for the spec."""
    import yaml

    if found.misses:
        return f"no setting keeps the goals; trial {found.chosen.number} is nearest: {'; '.join(found.misses)}"
    why = "keeps the goals with the most tokens per second" if found.goals else "is the knee"
    if not found.changes:
        return f"the spec as it is {why}"
    lines = yaml.safe_dump(found.changes, sort_keys=False)
    return f"trial {found.chosen.number} {why}; for the spec:\n\n{lines}".rstrip()


def _plain(found: Found) -> dict[str, Any]:
    front, chosen = found.front, found.chosen
    return {
        "endpoint": found.spec.name,
        "goals": {"ttft_s": found.goals.ttft_s, "itl_s": found.goals.itl_s},
        "load": found.load.model_dump(mode="json"),
        "trials": [_plain_point(point, front) for point in found.points],
        "knee": found.knee.number if found.knee else None,
        "chosen": chosen.number,
        "misses": found.misses,
        "changes": found.changes,
    }


def _plain_point(point: Point, front: list[Point]) -> dict[str, Any]:
    return {
        "number": point.number,
        "max_concurrency": point.setting.max_concurrency,
        "knobs": dict(point.setting.knobs),
        "figures": point.figures.model_dump(mode="json") if point.figures else None,
        "failure": point.failure,
        "is_on_front": point in front,
    }


def _written(file: Path, spec: ServeSpec, found: Found) -> str:
    """The text of the spec's file with what is to be changed, all else as it is."""
    from tradewind.specs.applications import place_of
    from tradewind.specs.document import Document
    from tradewind.specs.editing import edited

    return edited(file.read_text(encoding="utf-8"), place_of(Document.read(file), spec.name), found.changes)
