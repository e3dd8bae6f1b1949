"""The front as a deployment of Ray Serve: the relay in a thread of its own, told of replicas through handles.

It imports no Ray: whoever deploys wraps it with `serve.deployment`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import uvloop

from tradewind.errors import RunError, SpecError
from tradewind.serving.front.board import BoardSignals
from tradewind.serving.front.relay import Relay
from tradewind.serving.front.settings import FrontSettings
from tradewind.serving.metering import Served
from tradewind.serving.report import ReplicaReport

T = TypeVar("T")
HEALTH_WITHIN_S = 10.0


class Front:
    """Listens from construction until `stop`. Raises SpecError where nothing can listen at its host and port."""

    def __init__(self, settings: FrontSettings) -> None:
        self._settings = settings
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tradewind-front", daemon=True)
        self._thread.start()
        self._relay = self._wait(_made(settings))
        self._is_stopped = False
        try:
            self.port = self._wait(self._relay.start())
        except OSError as exc:
            self._end_loop()
            where = f"{settings.host}:{settings.port}"
            raise SpecError(f"cannot listen at {where}: {exc.strerror}", hint="choose another port or host") from exc

    async def report(self, report: ReplicaReport) -> None:
        """A replica's word of itself; one that has not spoken for 3 s gets no requests."""
        await self._call(_later(self._relay.report, report))

    async def leave(self, replica: str) -> None:
        """A replica is gone for good."""
        await self._call(_later(self._relay.leave, replica))

    async def want(self, replicas: int) -> None:
        """So many replicas get requests, and the others are spare."""
        await self._call(_later(self._relay.want, replicas))

    async def signals(self) -> BoardSignals:
        """What a scaling policy decides from."""
        return await self._call(_later(self._relay.signals))

    def answered_tokens(self) -> tuple[int, int]:
        """In and out, of all targets since the start. From any thread."""
        return self._relay.answered_tokens

    def tell_answered(self, told: Callable[[Served], None]) -> None:
        """Have each request that a target answers told."""
        self._relay.on_answered = told

    def address(self) -> tuple[str, int]:
        """Host and port; the port is the real one where 0 was asked."""
        return self._settings.host, self.port

    async def check_health(self) -> None:
        """What Serve asks. Raises RunError when the relay answers no more."""
        if not self._thread.is_alive():
            raise RunError("the front's event loop has ended")
        await asyncio.wait_for(self._call(_later(self._relay.check)), timeout=HEALTH_WITHIN_S)

    def stop(self) -> None:
        """Let answers end within `drain_s`, then close the port. Does nothing the second time."""
        if not self._is_stopped:
            self._is_stopped = True
            self._wait(self._relay.stop())
            self._end_loop()

    def __del__(self) -> None:
        """Serve calls it when the deployment ends."""
        if hasattr(self, "port"):
            self.stop()

    async def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(self._submit(work))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._submit(work).result()

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _made(settings: FrontSettings) -> Relay:
    return Relay(settings)


async def _later(function: Any, *arguments: Any) -> Any:
    return function(*arguments)
