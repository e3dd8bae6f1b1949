"""A hard limit on what reading over paid boundaries may cost a workspace, for all its processes and machines together.

The limit and everything taken from it stand in a log of the workspace; each record is written by put-if-absent on top
of the one before, so the sum of what was taken never passes the limit. A process takes dollars in blocks, pays its
requests out of them before it sends them, and gives back what is left. What a killed process had taken counts as spent.
"""

from __future__ import annotations

import atexit
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tradewind.catalog.transfer import NUSD
from tradewind.errors import QuotaError, SpecError, StorageError, TradewindError
from tradewind.records import EgressChange
from tradewind.storage import RecordLog, Store
from tradewind.units import format_usd

FOLDER = "ledger/egress"
BLOCKS = 64
"""A process takes at most this part of the limit at once, unless one request costs more."""
FIRST_REQUESTS = 8
"""Its first block is for so many requests, and each further one is twice as large: who reads little takes little."""
LOOK_AGAIN_S = 60.0
"""How long a process that saw no limit may take to notice one."""


@dataclass(frozen=True)
class EgressBudget:
    """The budget of the workspace in a store. Without a limit everything is allowed. May be used by many threads."""

    store: Store

    def account(self) -> EgressChange | None:
        """Limit and what was taken, as of now, or None when no limit was ever set."""
        wallet, log = self._wallet, self._log
        wallet.newest = max([wallet.newest, *log.numbers(after=wallet.newest)])
        return log.read(wallet.newest) if wallet.newest else None

    def set_limit(self, usd: float) -> EgressChange:
        """Let so many dollars be spent in all, counted from when a limit was first set. Raises SpecError."""
        if not 0 <= usd < 1e9:
            raise SpecError(f"{usd} is not a budget in dollars", hint="use a number of dollars, like 20")
        limit = round(usd * NUSD)
        self._wallet.unlimited_until = 0.0
        found = self.account()
        return found if found and found.limit_nusd == limit else self._append(lambda _: _Step(limit=limit))

    def hold(self, nusd: int, *, what: str) -> Hold:
        """Set aside the price of a request. Raises QuotaError, which says `what` it was for."""
        return self._wallet.hold(nusd, self, f"{what} would cost {format_usd(nusd / NUSD)}")

    def close(self) -> None:
        """Give back what this process took and did not spend. Requests that are on their way keep theirs."""
        self._wallet.close(self)

    def take(self, least: int, wish: int, *, what: str) -> int | None:
        """A block of at least `least` from the log, or None where there is no limit. For wallets."""
        if self.account() is None:
            return None

        def block(before: EgressChange | None) -> _Step:
            assert before is not None
            room = before.limit_nusd - before.reserved_nusd
            if least > room:
                raise _exceeded(before, least, what)
            return _Step(by=max(least, min(wish, before.limit_nusd // BLOCKS, room // 4)))

        return self._append(block).by_nusd

    def give_back(self, nusd: int) -> None:
        self._append(lambda _: _Step(by=-nusd))

    def _append(self, step: Callable[[EgressChange | None], _Step]) -> EgressChange:
        """Write the next state of the account on top of the one that it was made from, however many others do so."""
        log = self._log

        def make(change: int, writer: str) -> EgressChange:
            before = log.read(change - 1) if change > 1 else None
            return _after(before, step(before), change, writer)

        return log.append(make, after=self._wallet.newest)

    @property
    def _log(self) -> RecordLog[EgressChange]:
        return RecordLog(self.store, FOLDER, EgressChange)

    @property
    def _wallet(self) -> _Wallet:
        with _opening:
            return _wallets.setdefault((os.getpid(), self.store.url), _Wallet())


@dataclass(frozen=True)
class _Step:
    by: int = 0
    limit: int | None = None


def _after(before: EgressChange | None, step: _Step, change: int, writer: str) -> EgressChange:
    limit = before.limit_nusd if before else 0
    return EgressChange(
        change=change,
        writer=writer,
        limit_nusd=limit if step.limit is None else step.limit,
        reserved_nusd=(before.reserved_nusd if before else 0) + step.by,
        by_nusd=step.by,
        machine=socket.gethostname(),
    )


class Hold:
    """The price of one request, set aside. It is spent in full unless `settle` says otherwise."""

    def __init__(self, wallet: _Wallet | None, nusd: int) -> None:
        self._wallet, self._nusd = wallet, nusd

    def settle(self, used_nusd: int) -> None:
        """The request is over and has cost this; the rest is free again."""
        wallet, self._wallet = self._wallet, None
        if wallet is not None:
            wallet.put_back(self._nusd - used_nusd)


@dataclass
class _Wallet:
    """What this process has taken and not spent yet."""

    left: int = 0
    block: int = 0
    newest: int = 0
    """The last record that was seen in the log."""
    is_unlimited: bool = False
    unlimited_until: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)
    closes_at_exit: bool = False

    def hold(self, nusd: int, budget: EgressBudget, what: str) -> Hold:
        with self.lock:
            if nusd <= 0 or time.monotonic() < self.unlimited_until:
                return Hold(None, 0)
            if self.left < nusd:
                self._refill(nusd - self.left, nusd, budget, what)
            if self.is_unlimited:
                self.unlimited_until = time.monotonic() + LOOK_AGAIN_S
                return Hold(None, 0)
            self.left -= nusd
            return Hold(self, nusd)

    def _refill(self, least: int, nusd: int, budget: EgressBudget, what: str) -> None:
        self.block = max(2 * self.block, FIRST_REQUESTS * nusd)
        try:
            block = budget.take(least, self.block, what=what)
        except StorageError:
            if not self.is_unlimited:
                raise
            return  # there was no limit when this process looked last, and copies are for when home is down
        self.is_unlimited = block is None
        if block is not None:
            self.left += block
            self._close_at_exit(budget)

    def put_back(self, nusd: int) -> None:
        with self.lock:
            self.left += nusd

    def close(self, budget: EgressBudget) -> None:
        with self.lock:
            left, self.left = self.left, min(self.left, 0)
            if left > 0:
                budget.give_back(left)

    def _close_at_exit(self, budget: EgressBudget) -> None:
        if not self.closes_at_exit:
            self.closes_at_exit = True
            atexit.register(_close_quietly, budget, os.getpid())


_wallets: dict[tuple[int, str], _Wallet] = {}
_opening = threading.Lock()


def _close_quietly(budget: EgressBudget, pid: int) -> None:
    """At the end of a process. What cannot be given back counts as spent, which is the safe side."""
    try:
        if os.getpid() == pid:
            budget.close()
    except TradewindError:
        return


def _exceeded(account: EgressChange, least: int, what: str) -> QuotaError:
    limit, taken = account.limit_nusd / NUSD, account.reserved_nusd / NUSD
    return QuotaError(
        f"{what}, and {format_usd(taken)} of the egress budget of {format_usd(limit)} is spent or set aside",
        hint=f"raise it with `tw datasets budget {_enough(taken + least / NUSD):g}`, or read from a nearer copy",
    )


def _enough(usd: float) -> float:
    """A round number above an amount."""
    digits = 10 ** max(0, len(str(int(usd))) - 1)
    return float((int(usd / digits) + 1) * digits)
