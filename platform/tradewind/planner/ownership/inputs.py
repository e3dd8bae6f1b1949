"""The numbers behind a case, each with its range and where it is from: the user, a source, or an assumption."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from tradewind.errors import SpecError, did_you_mean

Basis = Literal["given", "source", "assumption"]


@dataclass(frozen=True)
class Input:
    name: str
    unit: str
    value: float
    low: float
    high: float
    basis: Basis
    source: str
    """Where it is from, or what is assumed."""
    what: str


@dataclass(frozen=True)
class Known:
    """A range that sources state, in the unit of the input."""

    low: float
    high: float
    source: str
    value: float | None = None
    """What to reckon with; the middle where that is None."""


@dataclass(frozen=True)
class _Row:
    name: str
    unit: str
    item: str
    """Name of what the catalogue knows; empty for an assumption."""
    value: str
    low: str
    high: str
    basis: str
    what: str


def inputs(given: Mapping[str, float], known: Mapping[str, Known]) -> dict[str, Input]:
    """All inputs by name: what was given, else what sources say, else the assumption of the table.

    Raises SpecError for a given name that is none, and for one that neither a source nor an assumption has.
    """
    names = [row.name for row in _rows()]
    for name in given:
        if name not in names:
            raise SpecError(f"no input named {name!r}{did_you_mean(name, names)}", hint=f"inputs: {', '.join(names)}")
    return {row.name: _input(row, given.get(row.name), known.get(row.name)) for row in _rows()}


def items() -> dict[str, str]:
    """Input → name of what the catalogue knows about it."""
    return {row.name: row.item for row in _rows() if row.item}


def span(parts: Iterable[Known]) -> Known | None:
    """The range that covers several; None of none."""
    ranges = list(parts)
    if not ranges:
        return None
    sources = dict.fromkeys(part.source for part in ranges)
    return Known(min(part.low for part in ranges), max(part.high for part in ranges), "; ".join(sources))


def _input(row: _Row, given: float | None, known: Known | None) -> Input:
    if given is not None:
        return Input(row.name, row.unit, given, given, given, "given", "given", row.what)
    if known:
        value = (known.low + known.high) / 2 if known.value is None else known.value
        return Input(row.name, row.unit, value, known.low, known.high, "source", known.source, row.what)
    if not row.value:
        raise SpecError(f"{row.name} is not known: {row.what}, in {row.unit}", hint=f"give it: --set {row.name}=…")
    low, value, high = float(row.low), float(row.value), float(row.high)
    return Input(row.name, row.unit, value, low, high, "assumption", row.basis, row.what)


@cache
def _rows() -> tuple[_Row, ...]:
    text = resources.files("tradewind.planner.ownership").joinpath("inputs.csv").read_text(encoding="utf-8")
    return tuple(_Row(**line) for line in csv.DictReader(text.splitlines()))
