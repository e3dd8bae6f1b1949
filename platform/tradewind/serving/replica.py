"""One replica of an endpoint: an ASGI app that loads its engine when it starts and tells the ledger what it served.

The app runs under Ray Serve and under any other ASGI server alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI

from tradewind import progress
from tradewind.clusters import this_machine
from tradewind.engines import engine
from tradewind.errors import TradewindError
from tradewind.ledger import Ledger, effort, usage
from tradewind.records import Usage
from tradewind.registry import Models
from tradewind.serving.openai_api import Served, add_routes
from tradewind.specs import ServeSpec
from tradewind.storage import Store

FLUSH_EVERY_S = 2.0


@dataclass(frozen=True)
class Replica:
    """What a replica is given. `model` names one version: an alias that moves does not move a running replica."""

    spec: ServeSpec
    store: Store
    model: str
    subject: str

    def app(self) -> FastAPI:
        """The ASGI app. Its start-up raises IntegrityError when the model's files are damaged."""
        backend = engine(self.spec.engine)

        @contextlib.asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            with tempfile.TemporaryDirectory(prefix="tw-model-") as folder:
                await asyncio.to_thread(backend.start, Models(self.store).get(self.model).link(Path(folder)))
            meter = app.state.meter = UsageMeter(Ledger(self.store), self.subject)
            flushing = asyncio.create_task(meter.flush_forever())
            yield
            flushing.cancel()
            await asyncio.to_thread(backend.stop)
            meter.flush()

        app = FastAPI(title=f"tradewind: {self.spec.name}", lifespan=lifespan)
        names = tuple(dict.fromkeys((self.model, self.spec.model, self.spec.model.partition("@")[0])))
        add_routes(app, backend, names=names, report=lambda served: app.state.meter.add(served))
        return app


class UsageMeter:
    """Adds up what requests took, and writes it to the ledger every few seconds and at the end."""

    def __init__(self, ledger: Ledger, subject: str) -> None:
        self._ledger = ledger
        self._subject = subject
        self._machine = this_machine()
        self._cpu = time.process_time()
        self._served: list[Served] = []

    def add(self, served: Served) -> None:
        """Count one request that has ended."""
        self._served.append(served)

    def flush(self) -> None:
        """Write what has come together since the last time as one row. Raises StorageError, and then keeps it."""
        if not self._served:
            return
        served, self._served = self._served, []
        try:
            self._ledger.record([self._row(served)])
        except TradewindError:
            self._served = served + self._served
            raise

    async def flush_forever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            try:
                await asyncio.to_thread(self.flush)
            except TradewindError as exc:
                progress.print_line(f"the ledger is not written, trying again: {exc.message}")

    def _row(self, served: list[Served]) -> Usage:
        cpu, self._cpu = time.process_time() - self._cpu, time.process_time()
        return usage(
            "serving",
            self._subject,
            self._machine,
            effort(self._machine, seconds=sum(one.seconds for one in served), cpu_seconds=cpu),
            requests=len(served),
            tokens_in=sum(one.tokens_in for one in served),
            tokens_out=sum(one.tokens_out for one in served),
        )
