"""What changes between two sides, topic by topic, each judged by the rules."""

from __future__ import annotations

from collections.abc import Iterator

from tradewind.catalog import Chip
from tradewind.catalog.capabilities import FORMATS, chip_can
from tradewind.planner.migration.clouds import cloud_fact, fabric
from tradewind.planner.migration.rules import VERDICTS, Finding, judge, judge_size
from tradewind.planner.migration.side import Side

OF_CLOUDS = ("identity", "network", "image", "storage", "kubernetes", "registry")
"""Topics that have a line for each cloud."""

BETWEEN_MACHINES = frozenset({"fabric", "network_speed"})

GIB, GB, GBIT_PER_S = 2.0**30, 1e9, 1e9 / 8


def differences(before: Side, after: Side, *, data_bytes: int) -> list[Finding]:
    """Every topic: blockers first, then risks, then what needs nothing."""
    found = [*_of_places(before, after, data_bytes), *_of_machines(before, after)]
    return sorted(found, key=lambda finding: VERDICTS.index(finding.verdict))


def _of_places(before: Side, after: Side, data_bytes: int) -> Iterator[Finding]:
    one_cloud = before.cloud == after.cloud
    for topic in OF_CLOUDS:
        yield judge(topic, *((side.cloud if one_cloud else _fact(side, topic)) for side in (before, after)))
    yield judge("quota", str(before.place), str(after.place))
    yield judge("services", before.cloud, after.cloud)
    here, there = before.region, after.region
    yield judge("residency", *("here", "here") if here == there else (here.country, there.country))
    yield _of_notices(before, after)
    if data_bytes:
        yield judge("data", str(before.place), str(after.place))


def _of_notices(before: Side, after: Side) -> Finding:
    texts = [_fact(side, "spot_notice_s") for side in (before, after)]
    if before.cloud == after.cloud:
        return judge("spot_notice", before.cloud, after.cloud)
    return judge_size("spot_notice", *(float(text) if text else None for text in texts), unit=1, name="s")


def _of_machines(before: Side, after: Side) -> Iterator[Finding]:
    here, there = before.instance, after.instance
    if here is None or there is None:
        said = "which machines is not said, so chips and networks were not compared"
        missing = "no machine there comes near" if here else said
        yield Finding("machine", here.name if here else "", there.name if there else "", "risk", missing)
        return
    if here == there:
        yield judge("machine", here.name, there.name)
        return
    yield from _of_chips(before, after)
    yield judge_size("chips", here.chips, there.chips, unit=1, name="")
    yield judge_size("vcpus", here.vcpus, there.vcpus, unit=1, name="")
    yield judge_size("memory", here.memory_bytes, there.memory_bytes, unit=GIB, name="GiB")
    yield judge_size("local_disk", here.local_disk_bytes, there.local_disk_bytes, unit=GB, name="GB")
    fabrics = judge("fabric", fabric(here), fabric(there))
    speeds = judge_size(
        "network_speed", here.network_bytes_per_s, there.network_bytes_per_s, unit=GBIT_PER_S, name="Gbit/s"
    )
    for finding in (fabrics, speeds):
        alone = max(before.nodes, after.nodes) == 1
        yield _unused(finding) if alone and finding.differs else finding


def _of_chips(before: Side, after: Side) -> Iterator[Finding]:
    here, there = before.chip, after.chip
    if here is None and there is None:
        return
    yield judge("runtime", here.runtime if here else "cpu", there.runtime if there else "cpu")
    if here is None or there is None:
        return
    yield judge("chip", here.name, there.name)
    yield judge_size("chip_memory", here.memory_bytes, there.memory_bytes, unit=GIB, name="GiB")
    yield judge("link", here.link, there.link)
    yield from _of_formats(here, there)


def _of_formats(here: Chip, there: Chip) -> Iterator[Finding]:
    """Each number format that is lost or may be; else one line for all."""
    if here.name == there.name:
        yield judge("precision", here.name, there.name)
        return
    had = [name for name in FORMATS if chip_can(here, name)]
    kept = {name: chip_can(there, name) for name in had}
    for name in (name for name in had if not kept[name]):
        yield judge("precision", name, "" if kept[name] is None else "absent")
    if not had or all(kept.values()):
        yield judge("precision", " ".join(had), " ".join(had))


def _unused(finding: Finding) -> Finding:
    return Finding(finding.topic, finding.before, finding.after, "no-op", "one machine, so nothing crosses it")


def _fact(side: Side, topic: str) -> str:
    fact = cloud_fact(side.cloud, topic)
    return fact.value if fact else ""
