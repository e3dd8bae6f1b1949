"""Rows of the ledger from what was metered. What a row is about, its subject and parents say, and columns as well."""

from __future__ import annotations

import uuid
from datetime import date, datetime, timedelta

from tradewind.catalog.transfer import NUSD
from tradewind.ledger.team import this_team
from tradewind.records import Activity, Effort, Machine, Usage, now
from tradewind.storage.transfer.meter import Batch

NOTHING = Effort(seconds=0, cpu_seconds=0, energy_wh=0, usd=0)
KINDS = ("run", "model", "endpoint", "dataset")
"""Columns that hold the name of a subject or parent of that kind."""


def usage(
    activity: Activity,
    subject: str,
    machine: Machine,
    effort: Effort,
    *,
    tokens_in: int = 0,
    tokens_out: int = 0,
    requests: int = 0,
    parents: tuple[str, ...] = (),
    team: str | None = None,
    dataset: str | None = None,
    devices: int | None = None,
    share: float = 1.0,
    used_s: float | None = None,
    productive_s: float | None = None,
    began_at: datetime | None = None,
) -> Usage:
    """A row for work that has been metered. `parents` are what was used for it, beside the subject.

    It has just ended, unless `began_at` says when it began.

    Of a machine's devices it held `devices`, or all, and of these a `share`; it pays for that. `used_s` and
    `productive_s` are device-seconds, at most what was held; without them all time was productive. Without `team` it
    is this one's.
    """
    held = machine.devices if devices is None else devices
    part = held / machine.devices
    allocated_s = effort.seconds * held * share
    used_s = allocated_s if used_s is None else min(used_s, allocated_s)
    values = _named(subject, parents) | ({} if dataset is None else {"dataset": dataset})
    values |= effort.model_dump() | {"usd": effort.usd * part, "energy_wh": effort.energy_wh * part}
    return Usage(
        usage_id=uuid.uuid4().hex,
        began_at=began_at or now() - timedelta(seconds=effort.seconds),
        activity=activity,
        subject=subject,
        parents=(subject, *parents),
        team=this_team() if team is None else team,
        machine=machine.host,
        cloud=machine.place.cloud,
        region=machine.place.region,
        device=machine.device,
        devices=held,
        requests=requests,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        allocated_s=allocated_s,
        used_s=used_s,
        productive_s=used_s if productive_s is None else min(productive_s, used_s),
        usd_per_hour=machine.usd_per_hour * part * share,
        price_as_of=machine.price_as_of,
        **values,
    )


def node_usage(machine: Machine, *, cluster: str, began_at: datetime, seconds: float, team: str = "") -> Usage:
    """The time of a node of a cluster, from the moment that it cost money: what its work is held against.

    Written once for any stretch of time, such as every hour and when the node ends. It is in no sum of usage.
    """
    return Usage(
        usage_id=uuid.uuid4().hex,
        created_at=began_at + timedelta(seconds=seconds),
        began_at=began_at,
        activity="cluster",
        subject=f"node:{machine.host}",
        parents=(f"node:{machine.host}", f"cluster:{cluster}"),
        team=team,
        machine=machine.host,
        cloud=machine.place.cloud,
        region=machine.place.region,
        device=machine.device,
        devices=machine.devices,
        seconds=seconds,
        allocated_s=seconds * machine.devices,
        cpu_seconds=0,
        energy_wh=0,
        usd=seconds / 3600 * machine.usd_per_hour,
        usd_per_hour=machine.usd_per_hour,
        price_as_of=machine.price_as_of,
    )


def transfers(batch: Batch, subject: str, machine: Machine, *, team: str | None, dataset: str | None) -> list[Usage]:
    """A row for each store and boundary of what a meter has counted."""
    named = _named(subject, ()) | ({} if dataset is None else {"dataset": dataset})
    return [
        Usage(
            usage_id=f"{batch.name}-{number}",
            created_at=batch.at,
            began_at=batch.at,
            activity="transfer",
            subject=subject,
            parents=(subject,),
            team=this_team() if team is None else team,
            machine=machine.host,
            cloud=machine.place.cloud,
            region=machine.place.region,
            device=machine.device,
            devices=0,
            num_bytes=moved.num_bytes,
            boundary=moved.boundary,
            store=moved.store,
            price_as_of=date.fromisoformat(moved.as_of) if moved.as_of else None,
            **named,
            **NOTHING.model_dump() | {"usd": moved.nusd / NUSD},
        )
        for number, moved in enumerate(batch.moved)
    ]


def _named(subject: str, parents: tuple[str, ...]) -> dict[str, str]:
    """The names of the subject and of what it was made from, each in its column; several of one kind joined by `+`."""
    ids = [one.partition(":") for one in dict.fromkeys((subject, *parents))]
    return {kind: "+".join(name for word, _, name in ids if word == kind) for kind in KINDS}
