"""What a cloud calls its parts, and which network its machines have between them: `clouds.csv`, `fabrics.csv`."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources

from tradewind.catalog import Instance


@dataclass(frozen=True)
class CloudFact:
    value: str
    source: str


def cloud_fact(cloud: str, topic: str) -> CloudFact | None:
    """None where nobody wrote it down."""
    return _facts().get((cloud, topic))


def fabric(instance: Instance) -> str:
    """`efa`, `tcpx`, `tcpxo`, `roce`, `ib`, `ici`, `tcp`, or nothing where it is not known."""
    for row in _table("fabrics.csv"):
        patterns = ((instance.cloud, row["cloud"]), (instance.name, row["instance"]), (instance.rdma, row["rdma"]))
        if all(fnmatchcase(name, pattern) for name, pattern in patterns):
            return row["fabric"]
    return ""


@cache
def _facts() -> dict[tuple[str, str], CloudFact]:
    return {(row["cloud"], row["topic"]): CloudFact(row["value"], row["source"]) for row in _table("clouds.csv")}


@cache
def _table(name: str) -> tuple[dict[str, str], ...]:
    text = resources.files("tradewind.planner.migration").joinpath(name).read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
