"""Quantities that people write with a unit and programs keep as a number in the unit that the name states.

`Seconds` reads `90`, `"90s"`, `"1.5 h"`; `Bytes` reads `1048576`, `"16MiB"`, `"2 GB"`. Decimal prefixes are powers of
1000, binary ones of 1024 (IEC 80000-13). Negative values and other units are refused with what is allowed.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("kMGTP", 1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGTP", 1)},
}

_QUANTITY = re.compile(r"\s*([+-]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]*)\s*")


def parse_seconds(value: Any) -> float:
    """Seconds from a number or a text with a unit. Raises ValueError that names what is allowed."""
    return _parse(value, SECONDS, what="a time", example="90s")


def parse_bytes(value: Any) -> int:
    """Bytes from a number or a text with a unit. Raises ValueError that names what is allowed."""
    return round(_parse(value, BYTES, what="a size", example="16MiB"))


Seconds = Annotated[
    float, BeforeValidator(parse_seconds), WithJsonSchema({"type": ["number", "string"], "examples": ["90s"]})
]
Bytes = Annotated[
    int, BeforeValidator(parse_bytes), WithJsonSchema({"type": ["integer", "string"], "examples": ["16MiB"]})
]


def format_bytes(count: float) -> str:
    """`1536` → `1.5 KiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def format_seconds(seconds: float) -> str:
    """`75` → `1 min 15 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def format_latency(seconds: float) -> str:
    """`0.00123` → `1.2 ms`, `0.25` → `250 ms`, `1.5` → `1.50 s`."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{1000 * seconds:.1f} ms" if seconds < 0.1 else f"{1000 * seconds:.0f} ms"


def format_hours(hours: float) -> str:
    """`1.5` → `1.5 h`, `0.2` → `12 min`, `60` → `2.5 d`."""
    if hours < 1:
        return format_seconds(hours * 3600) if hours < 1 / 60 else f"{hours * 60:.0f} min"
    return f"{hours:.3g} h" if hours < 48 else f"{hours / 24:.3g} d"


def format_count(count: float) -> str:
    """`1234567` → `1.23 M`."""
    for unit in ("", " k", " M", " G"):
        if abs(count) < 999.5:
            return f"{count:.0f}" if unit == "" else f"{count:.3g}{unit}"
        count /= 1000
    return f"{count:.3g} T"


def format_usd(usd: float) -> str:
    """`0.00123` → `$0.0012`, `1234.5` → `$1,234.50`, `12345.6` → `$12,346`; amounts from a cent on keep two digits."""
    sign, amount = ("-" if usd < 0 else ""), abs(usd)
    if 0 < amount < 0.01:
        return f"{sign}${amount:.2g}"
    return f"{sign}${amount:,.2f}" if amount < 9999.995 else f"{sign}${amount:,.0f}"


def _parse(value: Any, units: dict[str, Any], *, what: str, example: str) -> float:
    allowed = f"use a number ≥ 0 with one of {', '.join(units)}, like {example!r}"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is not {what}; {allowed}")
    match = _QUANTITY.fullmatch(str(value))
    if not match:
        raise ValueError(f"{value!r} is not {what}; {allowed}")
    number, unit = float(match[1]), match[2]
    if unit and unit not in units:
        raise ValueError(f"{unit!r} in {value!r} is not a unit of {what}; {allowed}")
    quantity = number * (units[unit] if unit else 1)
    if quantity < 0 or not math.isfinite(quantity):
        raise ValueError(f"{value!r} is not {what}; {allowed}")
    return float(quantity)
