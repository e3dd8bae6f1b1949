"""Rules of what breaks, one line each in `rules.csv`: the first that fits counts, and what no rule knows is a risk."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Literal, cast

Verdict = Literal["blocker", "risk", "no-op"]
"""`blocker`: nothing runs before it is done. `risk`: it runs otherwise or slower, or nobody knows. `no-op`: nothing."""

VERDICTS: tuple[Verdict, ...] = ("blocker", "risk", "no-op")

ROUNDING = 0.01
"""Sizes this near to each other are the same: sources round."""


@dataclass(frozen=True)
class Finding:
    topic: str
    before: str
    after: str
    verdict: Verdict
    reason: str
    source: str = ""

    @property
    def differs(self) -> bool:
        return self.verdict != "no-op"


@dataclass(frozen=True)
class _Rule:
    topic: str
    before: str
    after: str
    verdict: Verdict
    reason: str
    source: str


def judge(topic: str, before: str, after: str) -> Finding:
    """What it means that words change. An empty word is not known, and that is a risk."""
    if not before or not after:
        return _unknown(topic, before, after)
    return _first(topic, before, "same" if before == after else after, before, after)


def judge_size(topic: str, before: float | None, after: float | None, *, unit: float, name: str) -> Finding:
    """The same for sizes, which the rules call `same`, `more` or `less`; shown in `unit`, whose name is `name`."""
    shown = ["" if size is None else f"{_plain(size / unit)} {name}".strip() for size in (before, after)]
    if before is None or after is None:
        return _unknown(topic, *shown)
    relation = "same" if abs(after - before) <= ROUNDING * before else "more" if after > before else "less"
    return _first(topic, "size", relation, *shown)


def _plain(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:.4g}"


def _unknown(topic: str, before: str, after: str) -> Finding:
    side = "on both sides" if not before and not after else "here" if not before else "there"
    return Finding(topic, before, after, "risk", f"not known {side}, so it was not compared")


def _first(topic: str, seen_before: str, seen_after: str, before: str, after: str) -> Finding:
    for rule in _rules():
        if rule.topic == topic and fnmatchcase(seen_before, rule.before) and fnmatchcase(seen_after, rule.after):
            return Finding(topic, before, after, rule.verdict, rule.reason, rule.source)
    return Finding(topic, before, after, "risk", "no rule knows this difference")


@cache
def _rules() -> tuple[_Rule, ...]:
    text = resources.files("tradewind.planner.migration").joinpath("rules.csv").read_text(encoding="utf-8")
    return tuple(
        _Rule(row["topic"], row["from"], row["to"], cast(Verdict, row["verdict"]), row["reason"], row["source"])
        for row in csv.DictReader(text.splitlines())
    )
