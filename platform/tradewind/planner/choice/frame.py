"""Placements as a DataFrame: one row each, one column for each figure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tradewind.errors import SpecError
from tradewind.records import Placement


def placements_frame(placements: Iterable[Placement]) -> Any:
    """Nested figures as columns like `hours_high` and `cost_rework_usd`. Raises SpecError without pandas."""
    try:
        import pandas
    except ImportError as exc:
        raise SpecError("a plan as a DataFrame needs pandas", hint="pip install pandas") from exc
    return pandas.DataFrame([placement_row(one) for one in placements])


def placement_row(placement: Placement) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in placement.model_dump().items():
        if name == "layout":
            row[name] = " x ".join(f"{axis} {size}" for axis, size in value.items()) if value else ""
        elif isinstance(value, dict):
            row |= {name if part == "value" else f"{name}_{part}": number for part, number in value.items()}
        else:
            row[name] = value
    return row
