"""One replica of an endpoint: an engine behind a port of its own, which tells the front how it is.

Ray Serve starts it, watches it and ends it; requests come to its own port, so that no token passes through Ray.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tradewind import progress
from tradewind.clusters import notices
from tradewind.engines import Engine, EngineSettings, engine
from tradewind.errors import RunError, TradewindError
from tradewind.ledger import Ledger
from tradewind.records import QualityCheck
from tradewind.registry import Models
from tradewind.serving.gate import Gate
from tradewind.serving.hosts import share_here
from tradewind.serving.metering import UsageMeter
from tradewind.serving.model_files import ModelFiles
from tradewind.serving.quality import comparison, scored
from tradewind.serving.report import ReplicaReport
from tradewind.serving.room import check_here
from tradewind.serving.server import Server, bind, url_of
from tradewind.serving.sigterm import on_sigterm
from tradewind.specs import ServeSpec
from tradewind.specs.serve import is_place
from tradewind.storage import Store

if TYPE_CHECKING:
    from fastapi import FastAPI

REPORT_EVERY_S = 0.5
TOLD_WITHIN_S = 2.0
POLL_S = 0.02
HEALTH_TIMEOUT_S = 10.0
NOTICE_MARGIN_S = 3.0
"""Of the time that a notice leaves, so much is kept for the last rows of the ledger."""


class FrontLine(Protocol):
    """How a replica reaches its front. Both may raise anything: a replica goes on answering without a front."""

    def report(self, report: ReplicaReport) -> None: ...

    def leave(self, replica: str) -> None: ...


@dataclass(frozen=True)
class ReplicaPlan:
    """What a replica is given. `files` name one version: an alias that moves does not move a running replica."""

    spec: ServeSpec
    store: Store
    files: ModelFiles
    team: str = ""
    host: str = "127.0.0.1"
    """Address to listen on; empty for that of the node."""
    fastest: float | None = None
    """Pace of the fastest chip that a replica may get, in bytes a second; None where all are equal or unknown."""

    @property
    def names(self) -> tuple[str, ...]:
        """What requests may call the model: its version first, then what the spec calls it, then its bare name.

        One that is only a folder somewhere is called by the endpoint's name.
        """
        asked = self.spec.model
        if is_place(asked):
            return (self.spec.name, asked)
        return tuple(dict.fromkeys((self.files.reference, asked, asked.partition("@")[0])))


class Running:
    """A replica that answers at `url` from its construction on. It knows nothing of Ray.

    `share` is what its chip is worth beside the fastest that a replica of the endpoint may get.
    Raises IntegrityError for damaged files, SpecError, CapacityError.
    """

    def __init__(self, plan: ReplicaPlan, *, name: str, front: FrontLine, share: float = 1.0) -> None:
        self._plan = plan
        self._began = time.monotonic()
        self._held = contextlib.ExitStack()
        self._ending = threading.Lock()
        self._has_ended = False
        self.phases: dict[str, float] = {}
        self.quality: QualityCheck | None = None
        """What came of comparing it with the unchanged weights; None where its precision leaves them as they are."""
        self.engine: Engine = engine(plan.spec.engine)
        listener = self._held.enter_context(bind(plan.host or _node_address(), plan.spec.replica_ports))
        models = (*plan.names, *plan.spec.adapters)
        self._report = ReplicaReport(name, url_of(listener), "starting", share * capacity_of(plan.spec), models=models)
        self._reporter = Reporter(self._now, front)
        try:
            self._load()
            loaded = time.monotonic()
            self.meter = self._metered()
            self.gate = self._gate()
            self._server = Server(self.gate, listener, loop=self.engine.loop)
            self._server.start()
            self.meter.start()
            self.phases["http"] = time.monotonic() - loaded
            self._report = replace(self._report, status="ready")
            self._reporter.tell_now()
        except BaseException:
            self._reporter.stop()
            self._held.close()
            raise

    @property
    def url(self) -> str:
        return self._report.url

    @property
    def status(self) -> str:
        return self._report.status

    def check(self) -> None:
        """Raises RunError when it does not answer, or drains and must be replaced."""
        if self._has_ended:
            raise RunError(f"replica {self._report.replica} was drained")
        if self.status == "draining":
            raise RunError(f"replica {self._report.replica} drains")
        if not self._server.is_alive:
            raise RunError(f"the HTTP server of replica {self._report.replica} has ended")
        try:
            urllib.request.urlopen(f"{self.url}/health", timeout=HEALTH_TIMEOUT_S).close()  # noqa: S310 - our own URL
        except OSError as exc:
            raise RunError(f"replica {self._report.replica} does not answer at {self.url}: {exc}") from exc

    def drain(self, within_s: float) -> bool:
        """Take no new work, let what has begun go on so long, and stop. Returns whether all of it came to its end."""
        with self._ending:
            if self._has_ended:
                return True
            self._report = replace(self._report, status="draining")
            self._reporter.tell_now()  # the front first, so that nothing new is sent to a closed gate
            self.gate.is_closed = True
            end = time.monotonic() + within_s
            is_whole = self._wait_for_the_open(end)
            self._stop(max(0.0, end - time.monotonic()))
            return is_whole

    def noticed(self, notice: notices.Notice) -> None:
        """Drain for a machine that is taken away; Serve finds the replica unhealthy and starts another elsewhere."""
        remaining_s = notice.remaining_s()
        if remaining_s is not None:
            progress.print_line(f"{notice.reason}: replica {self._report.replica} drains")
            self.drain(max(0.0, min(self._plan.spec.drain_s, remaining_s - NOTICE_MARGIN_S)))

    def _load(self) -> None:
        began = time.monotonic()
        folder = self._held.enter_context(self._plan.files.here())
        adapters = {name: self._adapter(reference) for name, reference in self._plan.spec.adapters.items()}
        fetched = time.monotonic()
        settings = settings_of(self._plan, adapters)
        self._start(folder, settings)
        self.phases = {"fetch": fetched - began, **self.phases, "engine": time.monotonic() - fetched}

    def _start(self, folder: Path, settings: EngineSettings) -> None:
        """Start the engine, and compare it with the unchanged weights where its precision changes them."""
        spec = self._plan.spec
        began = time.monotonic()
        gate = comparison(spec, self._plan.store, self._plan.files, folder, settings, partial(engine, spec.engine))
        compared = time.monotonic()
        self.engine.start(folder, settings)
        self.phases = dict(self.engine.phases)
        if gate:
            started = time.monotonic()
            self.quality = gate.check(scored(self.engine, gate.text))
            self.phases |= {"reference": compared - began, "quality": time.monotonic() - started}

    def _adapter(self, reference: str) -> Path:
        return self._held.enter_context(Models(self._plan.store).get(reference).linked())

    def _metered(self) -> UsageMeter:
        return UsageMeter(
            Ledger(self._plan.store),
            f"endpoint:{self._plan.spec.name}",
            model=self._plan.files.reference,
            tokens=self._tokens,
            team=self._plan.team,
            began=self._began,
        )

    def _gate(self) -> Gate:
        spec = self._plan.spec
        app = self.engine.app()
        self._add_route(app)
        limit = spec.slots + spec.queue
        return Gate(app, limit=limit, timeout_s=spec.request_timeout_s, report=self.meter.add)

    def _add_route(self, app: FastAPI) -> None:
        @app.get("/replica")
        async def replica() -> dict[str, Any]:
            told = {"phases": self.phases, "context": self.engine.context, "open": self.gate.open}
            return {**vars(self._now()), **told, "quality": self.quality}

    def _tokens(self) -> tuple[int, int]:
        load = self.engine.load()
        return load.tokens_in, load.tokens_out

    def _now(self) -> ReplicaReport:
        if self._report.status == "starting":
            return self._report
        load = self.engine.load()
        return replace(
            self._report,
            running=load.running,
            waiting=load.waiting,
            tokens_in_flight=load.tokens_in_flight,
            kv_use=load.kv_use,
            ttft_p95_s=load.ttft_p95_s,
            tokens_in=load.tokens_in,
            tokens_out=load.tokens_out,
        )

    def _wait_for_the_open(self, end: float) -> bool:
        while self.gate.open and time.monotonic() < end:
            time.sleep(POLL_S)
        return not self.gate.open

    def _stop(self, within_s: float) -> None:
        self._has_ended = True
        self.engine.stop()
        self._server.stop(within_s)
        try:
            self.meter.stop()
        finally:
            self._reporter.stop()
            self._held.close()


class Reporter:
    """Tells the front of a replica twice a second, in a thread of its own, until it is stopped."""

    def __init__(self, now: Callable[[], ReplicaReport], front: FrontLine) -> None:
        self._now = now
        self._front = front
        self._is_over = threading.Event()
        self._is_lost = False
        self._thread = threading.Thread(target=self._run, name="tradewind-report", daemon=True)
        self._thread.start()

    def tell_now(self) -> None:
        """Return once the front knows, or could not be told."""
        self._say(lambda: self._front.report(self._now()))

    def stop(self) -> None:
        """Take leave of the front."""
        self._is_over.set()
        self._say(lambda: self._front.leave(self._now().replica))

    def _say(self, call: Callable[[], None]) -> None:
        try:
            call()
            self._is_lost = False
        except Exception as exc:  # noqa: BLE001 - whatever the front suffers from, a replica goes on answering
            if not self._is_lost:
                progress.print_line(f"the front is not reached, trying again: {type(exc).__name__}: {exc}")
            self._is_lost = True

    def _run(self) -> None:
        while not self._is_over.wait(REPORT_EVERY_S):
            self.tell_now()


def settings_of(plan: ReplicaPlan, adapters: Mapping[str, Path]) -> EngineSettings:
    """A spec as its engine is told of it."""
    spec = plan.spec
    return EngineSettings(
        names=plan.names,
        adapters=adapters,
        max_concurrency=spec.slots,
        profile=spec.profile,
        precision=spec.precision,
        timeout_s=spec.request_timeout_s,
        tensor=spec.parallel.tensor,
        pipeline=spec.parallel.pipeline,
        expert=spec.parallel.expert,
        more=spec.engine_settings,
    )


def capacity_of(spec: ServeSpec) -> float:
    """Tokens in flight that a replica on the fastest chip carries: the spec's, or its slots full of its traffic."""
    if spec.scaling and spec.scaling.target_tokens:
        return spec.scaling.target_tokens
    return float(spec.slots * (spec.traffic.tokens_in + spec.traffic.tokens_out))


class Replica:
    """The deployment class of Ray Serve around `Running`. Its constructor returns once the replica answers."""

    def __init__(self, plan: ReplicaPlan) -> None:
        from ray import serve

        on_sigterm(self._end)
        context = serve.get_replica_context()
        self._drain_s = plan.spec.drain_s
        front = FrontHandle(context.app_name)
        try:
            check_here(plan.spec, plan.files)
            share = share_here(plan.spec, plan.fastest)
            self._running = Running(plan, name=context.replica_id.unique_id, front=front, share=share)
        except TradewindError as exc:
            progress.print_line(told(exc))
            raise type(exc)(told(exc)) from exc
        self._notices = notices.subscribe(self._running.noticed)

    def check_health(self) -> None:
        """For Serve, every few seconds. Raises RunError for a replica that must be replaced."""
        self._running.check()

    def _end(self) -> None:
        """At SIGTERM. Serve sees a replica that drains as unhealthy, so another one starts meanwhile."""
        if running := getattr(self, "_running", None):
            progress.print_line("SIGTERM: the replica drains")
            running.drain(self._drain_s)
        os._exit(0)  # of all threads: the main one stays in Ray's loop

    def __del__(self) -> None:
        """Serve calls this when the replica goes: at a scale-in, a new version, the end of the application."""
        if running := getattr(self, "_running", None):
            self._notices.close()
            running.drain(self._drain_s)


def told(error: TradewindError) -> str:
    """Message and hint in one line: Serve shows the message alone."""
    return f"{error.message} ({error.hint})" if error.hint else error.message


class FrontHandle:
    """The front of an application, through Serve.

    Serve constructs and ends a replica inside an event loop, where its handles cannot be waited for: a thread does.
    """

    def __init__(self, application: str) -> None:
        from ray import serve

        self._front = serve.get_deployment_handle("Front", application)
        self._thread = ThreadPoolExecutor(1, "tradewind-front-line")

    def report(self, report: ReplicaReport) -> None:
        self._tell(self._front.report, report)

    def leave(self, replica: str) -> None:
        self._tell(self._front.leave, replica)

    def _tell(self, method: Any, word: object) -> None:
        self._thread.submit(lambda: method.remote(word).result(timeout_s=TOLD_WITHIN_S)).result()


def _node_address() -> str:
    import ray

    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return address
