"""An ASGI app that belongs to one event loop, callable from any."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

Result = TypeVar("Result")


class OwnLoop:
    """An event loop that is run by whoever serves the app, or else by a thread of its own, from the first need on."""

    def __init__(self) -> None:
        self.loop = _new_loop()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of a coroutine that runs in the loop. Not to be called from the loop itself."""
        if not self.loop.is_running():
            with ThreadPoolExecutor(1) as aside:  # the caller's thread may have a loop that runs, as Serve's has
                return aside.submit(self.loop.run_until_complete, work).result()
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def run(self) -> None:
        """Run the loop in a thread, unless it runs."""
        with self._starting:
            if self._thread is None and not self.loop.is_running():
                self._thread = threading.Thread(target=self.loop.run_forever, name="engine-loop", daemon=True)
                self._thread.start()

    def close(self) -> None:
        if self._thread:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
        if not self.loop.is_running():
            self.loop.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    """The faster kind where it is installed."""
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


class InOwnLoop:
    """ASGI middleware that carries a call over to the app's loop. Served from that loop, it costs nothing."""

    def __init__(self, app: ASGIApp, own: OwnLoop) -> None:
        self._app = app
        self._own = own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = asyncio.get_running_loop()
        if caller is self._own.loop:
            await self._app(scope, receive, send)
            return

        async def receive_there() -> Message:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_awaited(receive()), caller))

        async def send_there(message: Message) -> None:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_awaited(send(message)), caller))

        self._own.run()
        work = _awaited(self._app(scope, receive_there, send_there))
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._own.loop))


async def _awaited(work: Any) -> Any:
    """A coroutine of anything that can be awaited."""
    return await work
