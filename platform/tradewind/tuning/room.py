"""What a sweep's trials run on: slots for those of one worker, groups of Ray Train's for the others."""

from __future__ import annotations

from tradewind.clusters import RaySession
from tradewind.specs import TuneSpec
from tradewind.tuning.groups import Groups
from tradewind.tuning.slots import Share, Slots
from tradewind.tuning.work import Work


def room(spec: TuneSpec, session: RaySession, work: Work, name: str) -> tuple[Slots | Groups, float]:
    """The places for trials, and the part of a machine that one worker of a trial takes.

    `name` is that of the nurseries, unique to this driver.
    """
    import ray

    count = min(spec.parallel, spec.trials)
    there = ray.cluster_resources()  # type: ignore[no-untyped-call]
    machines = max(1, sum(node["Alive"] for node in ray.nodes()))  # type: ignore[no-untyped-call]
    chips = 0.0 if "cpu" in {chip.lower() for chip in spec.train.where.chips} else there.get("GPU", 0.0)
    cpus = there.get("CPU", 1.0)
    if spec.train.workers > 1:
        return Groups(session, count), min(1.0, machines / (count * spec.train.workers))
    if chips:
        share = Share(cpus=min(1.0, _hundredths(cpus / count)), chips=spec.chips_per_trial)
        return Slots(work, count, share, name), min(1.0, spec.chips_per_trial * machines / chips)
    share = Share(cpus=min(1.0, _hundredths(cpus / count)), chips=0.0)
    return Slots(work, count, share, name), min(1.0, share.cpus * machines / cpus)


def _hundredths(number: float) -> float:
    return int(number * 100) / 100
