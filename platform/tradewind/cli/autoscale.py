"""`tw autoscale`: why an endpoint has the replicas that it has, and what another policy would have made of its days."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from tradewind.cli.output import Json, Where, as_json, numbers, table
from tradewind.errors import SpecError
from tradewind.units import format_seconds, format_usd, parse_seconds

if TYPE_CHECKING:
    from tradewind.serving.autoscaling.replay import Replay, Told

app = typer.Typer(no_args_is_help=True, help="Autoscaling: what was decided and why, and what would have been.")

Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Name of the endpoint.")]


@app.command()
def show(
    endpoint: Endpoint,
    last: Annotated[int, typer.Option("--last", min=1, help="How many of the newest decisions.")] = 20,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """The newest decisions about an endpoint's replicas, each with its reason; --json has its inputs as well."""
    from tradewind.serving import find
    from tradewind.serving.autoscaling.history import decisions_of
    from tradewind.workspace import Workspace

    place = Workspace(workspace)
    log = decisions_of(place.store, endpoint)
    numbers = log.numbers()
    if not numbers:
        find(place.store, endpoint)
    found = [log.read(number) for number in numbers[-last:]]
    if json:
        as_json(found)
        return
    rows = [(f"{one.at:%Y-%m-%d %H:%M:%S}", f"{one.before} → {one.target}", one.policy, one.reason) for one in found]
    empty = f"the number of replicas of {endpoint} was never changed by a policy"
    table(f"decisions about {endpoint}", ("time (UTC)", "replicas", "policy", "reason"), rows, empty=empty)


@app.command()
def replay(
    endpoint: Endpoint,
    policy: Annotated[str, typer.Option("--policy", help="The other policy: tokens, classic, serve_default.")],
    from_: Annotated[
        str | None, typer.Option("--from", help="UTC time like 2026-11-20T08:00, or how long ago, like 7d.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="The end, written like --from; default now.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE of the other policy; repeat it.")] = None,
    usd_per_replica_hour: Annotated[
        float | None, typer.Option("--usd-per-replica-hour", min=0, help="Default: the price of this machine.")
    ] = None,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Play an endpoint's recorded demand under another policy: replica-hours, dollars and seconds over the goal."""
    from tradewind.serving import find
    from tradewind.serving.autoscaling.history import read_windows, windows_of
    from tradewind.serving.autoscaling.replay import replay
    from tradewind.workspace import Workspace

    place = Workspace(workspace)
    if not windows_of(place.store, endpoint).numbers():
        find(place.store, endpoint)
    windows = read_windows(
        place.store,
        endpoint,
        since=_moment("--from", from_) if from_ else None,
        until=_moment("--to", to) if to else None,
    )
    usd = place.machine.usd_per_hour if usd_per_replica_hour is None else usd_per_replica_hour
    found = replay(windows, policy, settings=numbers(set_ or [], example="room=1"), usd_per_replica_hour=usd)
    if json:
        as_json(asdict(found))
    else:
        _show(found)


def _moment(option: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return _ago(option, text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _ago(option: str, text: str) -> datetime:
    try:
        return datetime.now(UTC) - timedelta(seconds=parse_seconds(text))
    except (ValueError, OverflowError) as exc:
        raise SpecError(f"{option}: {text!r} is no time", hint="write 2026-11-20T08:00, or 7d for a week ago") from exc


def _show(found: Replay) -> None:
    table(
        f"{found.endpoint}: {format_seconds(found.seconds)}, about {found.requests:,} requests, "
        f"goal: first token within {format_seconds(found.ttft_s)}",
        ("policy", "basis", "replica-hours", "cost", "seconds over the goal", "changes", "most replicas"),
        [_row(one) for one in (found.happened, found.recorded, found.other)],
        empty="",
    )
    same, looks = found.repeated
    if looks:
        typer.echo(f"{found.recorded.what} decides {same:,} of {looks:,} recorded looks as it did then")
    typer.echo(_verdict(found.recorded, found.other))


def _row(one: Told) -> tuple[str, ...]:
    return (
        one.what, one.basis, f"{one.replica_hours:.3f}", format_usd(one.usd), f"{one.slo_violation_s:.0f}",
        f"{one.changes}", f"{one.most}",
    )  # fmt: skip


def _verdict(before: Told, after: Told) -> str:
    usd, seconds = after.usd - before.usd, after.slo_violation_s - before.slo_violation_s
    money = f"{format_usd(abs(usd))} {'more' if usd > 0 else 'less'}"
    time = f"{abs(seconds):.0f} s {'more' if seconds > 0 else 'less'} over the goal"
    return f"{after.what} instead of {before.what}: {money}, {time} (estimated)"
