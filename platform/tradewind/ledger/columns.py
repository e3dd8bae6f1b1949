"""The columns of the ledger, and how files of older programs, which have fewer of them, are filled up.

What an older file says by other columns is derived from them. Its rows held whole machines, and nothing tells how much
of that time was used: it counts as used and productive. Whatever else is missing has its default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from tradewind.records import Usage

if TYPE_CHECKING:
    import pyarrow as pa


@cache
def schema() -> pa.Schema:
    """The Arrow schema of a file of usage: a column for each field of `Usage`, in their order."""
    import pyarrow as pa

    return pa.schema([(name, column_type(name, field.annotation)) for name, field in Usage.model_fields.items()])


def needed(columns: Sequence[str]) -> list[str]:
    """The columns to read from a file, so that these can be had whatever program wrote it."""
    return list(dict.fromkeys([*columns, *(source for name in columns for source in _SOURCES.get(name, ()))]))


def conformed(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """These columns of a table, in their types and this order. Raises ArrowException, KeyError for a missing one."""
    import pyarrow as pa

    wanted = pa.schema([schema().field(name) for name in columns])
    arrays = [table[name] if name in table.column_names else _filled(name, table) for name in columns]
    return pa.table([array.cast(field.type) for array, field in zip(arrays, wanted, strict=True)], schema=wanted)


def column_type(name: str, annotation: Any) -> pa.DataType:
    """The Arrow type of a field. Raises TypeError for one that has none here."""
    import pyarrow as pa

    types = {
        str: pa.string(),
        int: pa.int64(),
        float: pa.float64(),
        date: pa.date32(),
        datetime: pa.timestamp("us", tz="UTC"),
        tuple[str, ...]: pa.list_(pa.string()),
    }
    given = [kind for kind in get_args(annotation) if kind is not type(None)]
    kind = given[0] if get_origin(annotation) in (Union, UnionType) and len(given) == 1 else annotation
    if get_origin(kind) is Literal and all(isinstance(word, str) for word in get_args(kind)):
        kind = str
    if kind not in types:
        raise TypeError(f"no column type for the field {name} of usage: {annotation}")
    return types[kind]


def _filled(name: str, table: pa.Table) -> pa.Array:
    import pyarrow as pa

    if name in _SOURCES:
        return _DERIVED[name](name, *(table[source] for source in _SOURCES[name]))
    field = Usage.model_fields[name]
    if field.is_required():
        raise KeyError(name)
    return pa.repeat(pa.scalar(field.get_default(call_default_factory=True), schema().field(name).type), len(table))


def _seconds(_: str, seconds: Any) -> Any:
    return seconds


def _usd_per_hour(_: str, usd: Any, seconds: Any) -> Any:
    import pyarrow.compute as pc

    return pc.if_else(pc.greater(seconds, 0.0), pc.multiply(pc.divide(usd, seconds), 3600.0), 0.0)


def _named(name: str, subject: Any, parents: Any) -> Any:
    """From the ids that a row names: its subject, or else the first parent of that kind."""
    import pyarrow as pa

    rows = zip(subject.to_pylist(), parents.to_pylist(), strict=True)
    found = (next((one for one in (first, *(more or ())) if one.startswith(f"{name}:")), "") for first, more in rows)
    return pa.array([one.partition(":")[2] for one in found], pa.string())


_DERIVED: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("allocated_s", "used_s", "productive_s"), _seconds),
    **dict.fromkeys(("run", "model", "endpoint", "dataset"), _named),
    "usd_per_hour": _usd_per_hour,
}
_SOURCES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("allocated_s", "used_s", "productive_s"), ("seconds",)),
    **dict.fromkeys(("run", "model", "endpoint", "dataset"), ("subject", "parents")),
    "usd_per_hour": ("usd", "seconds"),
}
