"""Usage summed along axes: by team, by run, by day, or by several of them together."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from tradewind.errors import SpecError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Axis = Literal[
    "team", "run", "model", "endpoint", "dataset", "subject", "cloud", "region", "machine", "device", "activity",
    "boundary", "store", "day",
]  # fmt: skip
"""What usage is summed by. `day` is of UTC."""

AXES: tuple[Axis, ...] = get_args(Axis)
SUMS = (
    "requests", "tokens_in", "tokens_out", "num_bytes", "seconds", "cpu_seconds", "allocated_s", "used_s",
    "productive_s", "energy_wh", "usd",
)  # fmt: skip
RATIOS = {
    "used_of_allocated": ("used_s", "allocated_s"),
    "productive_of_used": ("productive_s", "used_s"),
    "productive_of_allocated": ("productive_s", "allocated_s"),
}
"""How well devices were used: at work of what was held, not in vain of what was at work, and the product of both."""


@dataclass(frozen=True)
class UsageTable:
    """Sums of usage, the dearest first, or by day. `table` has a row for each combination of values that there is.

    Its columns are the axes, the sums, `energy_basis`, `rows`, and three ratios, which are null where nothing was held.
    """

    axes: tuple[Axis, ...]
    table: pa.Table
    total: dict[str, Any]
    """The same columns but the axes, over all rows."""

    @staticmethod
    def columns_for(axes: Sequence[Axis]) -> list[str]:
        """The columns of the ledger that it is made from."""
        wanted = [*(axis for axis in axes if axis != "day"), "created_at", "activity", "energy_basis", *SUMS]
        return list(dict.fromkeys(wanted))

    def rows(self) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", self.table.to_pylist())

    def to_pandas(self) -> pd.DataFrame:
        """A row for each combination, without the total."""
        return self.table.to_pandas()

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows())

    def _repr_html_(self) -> str:
        names = self.table.column_names
        total: dict[str, Any] = {**dict.fromkeys(map(str, self.axes), ""), **self.total}
        if self.axes:
            total[self.axes[0]] = "total"
        rows = [*self.rows(), total]
        head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
        body = "".join("<tr>" + "".join(f"<td>{_cell(row[name])}</td>" for name in names) + "</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def check_axes(axes: Sequence[Axis | str]) -> tuple[Axis, ...]:
    """The axes, each once. Raises SpecError for one that there is not, with the nearest name."""
    for axis in axes:
        if axis not in AXES:
            raise SpecError(f"usage has no axis {axis!r}{did_you_mean(axis, AXES)}", hint=f"axes: {', '.join(AXES)}")
    return cast("tuple[Axis, ...]", tuple(dict.fromkeys(axes)))


def grouped(rows: pa.Table, axes: Sequence[Axis]) -> UsageTable:
    """Sums of rows that have the columns of `UsageTable.columns_for`; those of nodes are left out."""
    import pyarrow.compute as pc

    is_work = pc.not_equal(rows["activity"], "cluster")
    work = rows if pc.all(is_work).as_py() else rows.filter(is_work)
    if "day" in axes:
        work = work.append_column("day", work["created_at"].cast("date32"))
    table = _ordered(_with_ratios(_summed(work, axes)), axes)
    (total,) = _with_ratios(_summed(work, ())).to_pylist()
    return UsageTable(tuple(axes), table, total)


def _summed(work: pa.Table, axes: Sequence[Axis]) -> pa.Table:
    """Energy is `measured` where each part of it is, and otherwise `estimated`, which is first in the alphabet."""
    wanted: list[Any] = [(name, "sum") for name in SUMS]
    summed = work.group_by(list(axes)).aggregate([*wanted, ("energy_basis", "min"), ([], "count_all")])
    if not axes and not work.num_rows:
        return _nothing()
    names = {f"{name}_sum": name for name in SUMS} | {"energy_basis_min": "energy_basis", "count_all": "rows"}
    summed = summed.rename_columns([names.get(name, name) for name in summed.column_names])
    return summed.select([*axes, *SUMS, "energy_basis", "rows"])


def _nothing() -> pa.Table:
    import pyarrow as pa

    from tradewind.ledger.columns import schema

    zeros = {name: pa.array([0], schema().field(name).type) for name in SUMS}
    return pa.table({**zeros, "energy_basis": pa.array(["estimated"]), "rows": pa.array([0], pa.int64())})


def _with_ratios(table: pa.Table) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    for name, (part, whole) in RATIOS.items():
        something = pc.greater(table[whole], 0.0)
        divisor = pc.if_else(something, table[whole], 1.0)
        ratio = pc.if_else(something, pc.divide(table[part], divisor), pa.scalar(None, pa.float64()))
        table = table.append_column(name, ratio)
    return table


def _ordered(table: pa.Table, axes: Sequence[Axis]) -> pa.Table:
    days: list[tuple[str, str]] = [("day", "ascending")] if "day" in axes else []
    order = [*days, ("usd", "descending"), ("allocated_s", "descending"), *((axis, "ascending") for axis in axes)]
    return table.sort_by(order) if axes else table


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else html.escape(str(value))
