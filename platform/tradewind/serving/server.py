"""An HTTP server for one ASGI app, in a thread of its own, on a port that it chooses."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
from typing import TYPE_CHECKING

from tradewind.errors import CapacityError, RunError

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

KEEP_ALIVE_S = 75
"""An idle connection is kept so long. Who pools connections lets them go earlier, so that none is lost to a race."""
BACKLOG = 2048
STARTED_WITHIN_S = 30.0
ENDED_WITHIN_S = 5.0
"""Beyond the time that answers under way have."""
LEAST_S = 1


def bind(host: str, ports: tuple[int, int] | None = None) -> socket.socket:
    """A socket on any port of an address, or on the first free one of a range. Raises CapacityError."""
    first, last = ports or (0, 0)
    for port in range(first, last + 1):
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as exc:
            listener.close()
            why = exc
        else:
            return listener
    place = f"ports {first} to {last} on {host}" if ports else host
    raise CapacityError(f"cannot listen on {place}: {why.strerror}", hint="give a wider range: replica_ports") from why


class Server:
    """Uvicorn in a thread. The app's loop is not that of whoever starts it, which stays free to answer.

    It is `loop` for an app that belongs to one: calls from another would cost more than the answers.
    """

    def __init__(self, app: ASGIApp, listener: socket.socket, *, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._listener = listener
        self._loop = loop
        self._app = app
        self._server: uvicorn.Server | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="tradewind-http", daemon=True)

    @property
    def url(self) -> str:
        return url_of(self._listener)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        """Return once it accepts connections. Raises RunError when the app does not start."""
        import uvicorn

        config = uvicorn.Config(
            self._app,
            http="httptools",
            access_log=False,
            log_level="warning",
            log_config=None,
            timeout_keep_alive=KEEP_ALIVE_S,
            backlog=BACKLOG,
            server_header=False,
            date_header=False,
        )
        self._server = uvicorn.Server(config)
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(STARTED_WITHIN_S / 0.005)):
            if self._server.started:
                return
            if not self._thread.is_alive():
                raise RunError(f"the HTTP server ended at its start: {self._failure}")
            waited.wait(0.005)
        raise RunError(f"the HTTP server did not start within {STARTED_WITHIN_S:g} s")

    def stop(self, within_s: float = LEAST_S) -> None:
        """Close the port and the connections that are idle; answers under way have so long, and a second at least.

        Under way is also what the app has given and a slow reader has not taken yet.
        """
        if self._server is not None:
            self._server.config.timeout_graceful_shutdown = max(LEAST_S, math.ceil(within_s))
            self._server.should_exit = True
            self._thread.join(within_s + ENDED_WITHIN_S)
        self._listener.close()

    def _run(self) -> None:
        assert self._server is not None
        try:
            if self._loop is None:
                self._server.run(sockets=[self._listener])
            else:
                self._loop.run_until_complete(self._server.serve(sockets=[self._listener]))
        except BaseException as exc:  # noqa: BLE001 - SystemExit is how uvicorn says that an app did not start
            self._failure = exc


def url_of(listener: socket.socket) -> str:
    """`http://address:port` of a socket that is bound."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
