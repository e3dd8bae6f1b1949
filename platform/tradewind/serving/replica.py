"""One replica of an endpoint: an ASGI app that loads its engine when it starts and tells the ledger what it served.

The app runs under Ray Serve and under any other ASGI server alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import FastAPI

from tradewind import progress
from tradewind.clusters import this_machine
from tradewind.engines import Engine, engine
from tradewind.ledger import Ledger, effort, usage
from tradewind.records import Usage
from tradewind.registry import Models
from tradewind.serving.openai_api import Served, add_routes
from tradewind.specs import ServeSpec
from tradewind.storage import Store

WRITE_EVERY_S = 2.0
HELD_EVERY_S = 600.0
"""So often is written down that a machine was held, also when it has answered nothing."""


@dataclass(frozen=True)
class Replica:
    """What a replica is given. `model` names one version: an alias that moves does not move a running replica."""

    spec: ServeSpec
    store: Store
    model: str
    subject: str
    team: str = ""

    def app(self) -> FastAPI:
        """The ASGI app. Its start-up raises IntegrityError when the model's files are damaged."""
        backend = engine(self.spec.engine)

        @contextlib.asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            began = time.monotonic()
            await asyncio.to_thread(self._start, backend)
            meter = app.state.meter = UsageMeter(
                Ledger(self.store), self.subject, model=self.model, team=self.team, began=began
            )
            writing = asyncio.create_task(meter.write_forever())
            yield
            writing.cancel()
            await asyncio.to_thread(backend.stop)
            meter.close_row(is_last=True)
            meter.write()

        app = FastAPI(title=f"tradewind: {self.spec.name}", lifespan=lifespan)
        names = tuple(dict.fromkeys((self.model, self.spec.model, self.spec.model.partition("@")[0])))
        add_routes(app, backend, names=names, report=lambda served: app.state.meter.add(served))
        return app

    def _start(self, backend: Engine) -> None:
        with Models(self.store).get(self.model).linked() as folder:
            backend.start(folder)


class UsageMeter:
    """Adds up what requests took, and writes it to the ledger every few seconds and at the end.

    The machine is held from `began`, a moment of `time.monotonic`, until the last row, whether or not it answers.
    """

    def __init__(self, ledger: Ledger, subject: str, *, model: str, team: str = "", began: float | None = None) -> None:
        self._ledger = ledger
        self._subject = subject
        self._model = model
        self._team = team
        self._machine = this_machine()
        self._cpu = time.process_time()
        self._held_since = time.monotonic() if began is None else began
        self._busy, self._productive = Busy(self._held_since), Busy(self._held_since)
        self._served: list[Served] = []
        self._unwritten: list[Usage] = []
        self._writing = threading.Lock()

    def add(self, served: Served) -> None:
        """Count one request that has ended."""
        self._served.append(served)

    def close_row(self, *, is_last: bool = False) -> None:
        """Make a row of the time since the last one, when requests have ended in it, or it is long, or the last."""
        if self._served or is_last or time.monotonic() - self._held_since >= HELD_EVERY_S:
            served, self._served = self._served, []
            self._unwritten.append(self._row(served))

    def write(self) -> None:
        """Write the rows that are not in the ledger yet. Raises StorageError, and then keeps them."""
        with self._writing:  # the last write, when the replica ends, may meet one that still runs in its thread
            while self._unwritten:
                row = self._unwritten[0]
                self._ledger.record([row], name=row.usage_id)
                self._unwritten.pop(0)

    async def write_forever(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            self.close_row()
            try:
                await asyncio.to_thread(self.write)
            except Exception as exc:  # noqa: BLE001 - a ledger that cannot be written must not end the serving
                progress.print_line(f"the ledger is not written, trying again: {exc}")

    def _row(self, served: list[Served]) -> Usage:
        cpu, self._cpu = time.process_time() - self._cpu, time.process_time()
        held_since, self._held_since = self._held_since, time.monotonic()
        devices = self._machine.devices
        return usage(
            "serving",
            self._subject,
            self._machine,
            effort(self._machine, seconds=self._held_since - held_since, cpu_seconds=cpu),
            requests=len(served),
            tokens_in=sum(one.tokens_in for one in served),
            tokens_out=sum(one.tokens_out for one in served),
            parents=(f"model:{self._model}",),
            team=self._team,
            used_s=self._busy.seconds(served) * devices,
            productive_s=self._productive.seconds([one for one in served if one.answered]) * devices,
        )


class Busy:
    """Seconds in which at least one of some requests was open; each second counts once."""

    def __init__(self, began: float) -> None:
        self._counted_until = began

    def seconds(self, served: list[Served]) -> float:
        """Those of requests that have ended since the last call, without what was counted then."""
        busy = 0.0
        for one in sorted(served, key=lambda one: one.began):
            end = one.began + one.seconds
            busy += max(0.0, end - max(one.began, self._counted_until))
            self._counted_until = max(self._counted_until, end)
        return busy
