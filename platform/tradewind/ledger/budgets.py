"""Budgets of teams as admission control: work whose projected cost does not fit any more does not start.

Each team's limit and what is reserved of it stand in a log of the workspace, written by put-if-absent on top of the
record before, as for the egress budget; what was spent is what the ledger says. Work reserves its projected cost when
it starts. The reservation counts until the ledger has the row of its end, which replaces it; of an endpoint, whose rows
come as it serves, until `settle`, less what they say already. So what was admitted never passes the limit together, and
what a run costs beyond its projection is seen by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, get_args

from tradewind.catalog.transfer import NUSD
from tradewind.errors import NotFoundError, QuotaError, SpecError, did_you_mean
from tradewind.ledger.ledger import Ledger
from tradewind.records import BudgetChange, Period, Reservation, now
from tradewind.specs.reference import check_name
from tradewind.storage import RecordLog, Store
from tradewind.units import format_usd

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "ledger/budgets"
MOST_USD = 1e9
ENDING = ("training", "tuning")
"""Activities that write one row, at their end."""
COLUMNS = ("team", "activity", "run", "endpoint", "created_at", "usd")


@dataclass(frozen=True)
class Budget:
    """A team's budget as of now, in dollars."""

    team: str
    limit_usd: float
    period: Period
    since: datetime | None
    """When the period began."""
    spent_usd: float
    """In the period, as the ledger says it."""
    reserved: dict[str, float]
    """By run or endpoint that has not ended: what it may still cost."""

    @property
    def reserved_usd(self) -> float:
        return sum(self.reserved.values())

    @property
    def room_usd(self) -> float:
        return max(0.0, self.limit_usd - self.spent_usd - self.reserved_usd)


@dataclass(frozen=True)
class Budgets:
    """The budgets in a workspace. A team without one may spend anything."""

    store: Store

    def set(self, team: str, usd: float, *, per: Period = "month") -> Budget:
        """Let a team spend so many dollars a day, week, month, or in all; what is reserved stays. Raises SpecError."""
        if not 0 <= usd < MOST_USD:
            raise SpecError(f"{usd} is not a budget in dollars", hint="use a number of dollars, like 500")
        if per not in get_args(Period):
            raise SpecError(f"there is no budget per {per!r}{did_you_mean(per, get_args(Period))}")
        changes = {"limit_nusd": round(usd * NUSD), "period": per}
        return self._read(self._append(team, lambda before: before.model_copy(update=changes)))

    def remove(self, team: str) -> None:
        """Let a team spend anything again. Raises NotFoundError when it has no budget."""
        if self.get(team) is None:
            known = [budget.team for budget in self.list()]
            raise NotFoundError(f"team {team!r} has no budget{did_you_mean(team, known)}")
        self._append(team, lambda before: before.model_copy(update={"limit_nusd": None}))

    def get(self, team: str) -> Budget | None:
        newest = self._newest(team)
        return self._read(newest) if newest and newest.limit_nusd is not None else None

    def list(self) -> tuple[Budget, ...]:
        """Of all teams that have one, by name."""
        return tuple(budget for team in self.store.folders(FOLDER) if (budget := self.get(team)))

    def admit(self, team: str, projected_usd: float, run: str, *, budget_usd: float | None = None) -> None:
        """Reserve the projected cost of a run or an endpoint that is about to start; of the same one, replace it.

        `budget_usd` is a limit of this one alone. Raises QuotaError when it, or what is left to the team, is less;
        SpecError for a projection that is no amount. Whoever does not start after all must `settle`.
        """
        if not 0 <= projected_usd < float("inf"):
            raise SpecError(f"{projected_usd} is not a cost in dollars", hint="give what the plan projects")
        if budget_usd is not None and projected_usd > budget_usd:
            raise QuotaError(
                f"{run} would cost {format_usd(projected_usd)} (estimated), more than its budget of"
                f" {format_usd(budget_usd)}",
                hint="ask for fewer steps or hours, choose a cheaper offer, or raise the budget",
            )
        newest = self._newest(team) if team else None
        if newest and newest.limit_nusd is not None:
            self._append(team, lambda before: self._with(before, run, projected_usd))

    @contextmanager
    def room(self, team: str, projected_usd: float, run: str) -> Iterator[None]:
        """Reserve for as long as something starts: what it then costs, its rows say. Raises QuotaError."""
        self.admit(team, projected_usd, run)
        try:
            yield
        finally:
            self.settle(team, run)

    def settle(self, team: str, run: str) -> None:
        """Reserve nothing more for a run or an endpoint: it has ended, or it has not started."""
        newest = self._newest(team) if team else None
        if newest and run in newest.reserved:
            self._append(team, lambda before: before.model_copy(update={"reserved": _without(before.reserved, {run})}))

    def _with(self, before: BudgetChange, run: str, projected_usd: float) -> BudgetChange:
        """The next state, with the reservation and without those of what has ended."""
        if before.limit_nusd is None:  # removed a moment ago
            return before
        others = before.model_copy(update={"reserved": _without(before.reserved, {run})})
        budget = self._read(others)
        if round(projected_usd * NUSD) > round(budget.room_usd * NUSD):
            raise _exceeded(budget, projected_usd, run)
        ended = others.reserved.keys() - budget.reserved.keys()
        own = Reservation(nusd=round(projected_usd * NUSD), at=now())
        return others.model_copy(update={"reserved": _without(others.reserved, ended) | {run: own}})

    def _read(self, account: BudgetChange) -> Budget:
        """The account with what the ledger says, read after it: what the account has let go is in there."""
        assert account.limit_nusd is not None
        since = period_start(account.period, now())
        rows = self._rows(account, since)
        left = {name: _left(name, one, rows) for name, one in account.reserved.items()}
        return Budget(
            team=account.team,
            limit_usd=account.limit_nusd / NUSD,
            period=account.period,
            since=since,
            spent_usd=_usd(_written(rows, since)),
            reserved={name: usd for name, usd in left.items() if usd is not None},
        )

    def _rows(self, account: BudgetChange, since: datetime | None) -> pa.Table:
        """What the team has spent in the period, and what was written since the oldest of its reservations."""
        import pyarrow.compute as pc

        first = min([since, *(one.at for one in account.reserved.values())]) if since else None
        table = Ledger(self.store).table(since=first, columns=COLUMNS)
        return table.filter(pc.and_(pc.equal(table["team"], account.team), pc.not_equal(table["activity"], "cluster")))

    def _append(self, team: str, step: Callable[[BudgetChange], BudgetChange]) -> BudgetChange:
        """Write the next state on top of the one that it was made from, however many others do so."""
        log = self._log(check_name(team))

        def make(change: int, writer: str) -> BudgetChange:
            before = (
                log.read(change - 1) if change > 1 else BudgetChange(change=0, writer="", team=team, limit_nusd=None)
            )
            return step(before).model_copy(update={"change": change, "writer": writer, "created_at": now()})

        return log.append(make)

    def _newest(self, team: str) -> BudgetChange | None:
        log = self._log(check_name(team))
        numbers = log.numbers()
        return log.read(numbers[-1]) if numbers else None

    def _log(self, team: str) -> RecordLog[BudgetChange]:
        return RecordLog(self.store, f"{FOLDER}/{team}", BudgetChange)


def period_start(period: Period, at: datetime) -> datetime | None:
    """When the period that a moment is in began, in UTC; None for `total`."""
    midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    starts = {
        "day": midnight,
        "week": midnight - timedelta(days=midnight.weekday()),
        "month": midnight.replace(day=1),
        "total": None,
    }
    return starts[period]


def _left(name: str, one: Reservation, rows: pa.Table) -> float | None:
    """What a reservation still holds: what its own rows say is spent already; None when one of them is its end."""
    import pyarrow as pa
    import pyarrow.compute as pc

    mine = _written(rows.filter(pc.or_(pc.equal(rows["run"], name), pc.equal(rows["endpoint"], name))), one.at)
    if pc.any(pc.is_in(mine["activity"], pa.array(ENDING))).as_py():
        return None
    return max(0.0, one.nusd / NUSD - _usd(mine))


def _written(rows: pa.Table, since: datetime | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    moments = rows["created_at"]
    return rows if since is None else rows.filter(pc.greater_equal(moments, pa.scalar(since, moments.type)))


def _usd(rows: pa.Table) -> float:
    import pyarrow.compute as pc

    return float(pc.sum(rows["usd"]).as_py() or 0.0)


def _without(reserved: dict[str, Reservation], names: Set[str]) -> dict[str, Reservation]:
    return {name: one for name, one in reserved.items() if name not in names}


def _exceeded(budget: Budget, projected_usd: float, run: str) -> QuotaError:
    period = "in all" if budget.period == "total" else f"a {budget.period}"
    others = f", {len(budget.reserved)} at work" if budget.reserved else ""
    enough = budget.spent_usd + budget.reserved_usd + projected_usd
    return QuotaError(
        f"{run} would cost {format_usd(projected_usd)} (estimated), and of the budget of team {budget.team},"
        f" {format_usd(budget.limit_usd)} {period}, {format_usd(budget.spent_usd)} is spent and"
        f" {format_usd(budget.reserved_usd)} reserved{others}: {format_usd(budget.room_usd)} is left",
        hint=f"raise it with `tw budgets set --team {budget.team} --usd {enough:.2f} --per {budget.period}`, wait until"
        " work ends for less than it has reserved, or plan for less",
    )
