"""A proxy before a real HTTP server that answers as clouds do on a bad day, the same in each run.

    with start_faults(server.endpoint, Plan(seed=7, share=0.1)) as proxy:
        ...  # use proxy.endpoint in place of server.endpoint

What a request suffers depends on the seed, on the request and on how often it was made before, and not on which thread
came first. `proxy.inject(...)` asks for a fault of the next request that fits. The proxy holds each body in memory.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import urlsplit

from tradewind.testing.loopback import Handler, serve

Fault = Literal["500", "503", "429", "409", "slow", "truncated", "reset", "lost", "lost-500", "flipped"]
"""What happens to one request.

`500`, `503` (SlowDown), `429` and `409` are answered by the proxy: the server sees nothing. `reset` breaks the
connection before, `lost` after the server did what it was asked; `lost-500` puts an error in place of its answer.
`slow` waits first. `truncated` ends in the middle of the answer's body. `flipped` alters one bit of it, and is never
chosen by a plan: no client can notice it without a checksum.
"""

PASSING: tuple[Fault, ...] = ("500", "503", "429", "409", "slow", "truncated", "reset", "lost", "lost-500")
ERRORS: dict[str, tuple[int, str, str]] = {
    "500": (500, "InternalError", "We encountered an internal error. Please try again."),
    "503": (503, "SlowDown", "Please reduce your request rate."),
    "429": (429, "TooManyRequests", "Please reduce your request rate."),
    "409": (409, "ConditionalRequestConflict", "A conflicting operation occurred during processing of this request."),
    "lost-500": (500, "InternalError", "We encountered an internal error. Please try again."),
}
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect", "proxy-connection"}


@dataclass(frozen=True)
class Plan:
    """`share` of the requests suffer one of `faults`. A request that failed `most_in_a_row` times goes through."""

    seed: int = 0
    share: float = 0.0
    faults: tuple[Fault, ...] = PASSING
    most_in_a_row: int = 3
    slow_s: float = 0.05

    def choose(self, what: str, asked_before: int) -> Fault | None:
        dice = random.Random(f"{self.seed}:{asked_before}:{what}")
        if asked_before % (self.most_in_a_row + 1) == self.most_in_a_row or dice.random() >= self.share:
            return None
        return dice.choice(self.faults)


@dataclass
class FaultProxy:
    endpoint: str
    server: str
    plan: Plan
    seen: Counter[str] = field(default_factory=Counter)
    """How often each fault happened; `none` counts the requests that went through."""

    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of each request, in the order of arrival."""

    _asked: Counter[str] = field(default_factory=Counter)
    _injected: list[tuple[Fault, Callable[[str, str], bool]]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def inject(
        self, fault: Fault, *, times: int = 1, when: Callable[[str, str], bool] = lambda _method, _path: True
    ) -> None:
        """Let the next requests suffer, of those for which `when(method, path)` holds."""
        if fault not in get_args(Fault):
            raise ValueError(f"no fault named {fault!r}")
        with self._lock:
            self._injected += [(fault, when)] * times

    def next_fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            fault = self._next(method, path)
            self.requests.append((method, path))
            self.seen[fault or "none"] += 1
        return fault

    def _next(self, method: str, path: str) -> Fault | None:
        for number, (fault, when) in enumerate(self._injected):
            if when(method, path):
                del self._injected[number]
                return fault
        what = f"{method} {path}"
        self._asked[what] += 1
        return self.plan.choose(what, self._asked[what] - 1)


@contextmanager
def start_faults(server: str, plan: Plan | None = None) -> Iterator[FaultProxy]:
    """A proxy before the server at an `http://host:port` endpoint, while the block runs."""
    proxy = FaultProxy("", server, plan or Plan())

    class FaultHandler(_Forwarder):
        faults = proxy

    with serve(FaultHandler) as endpoint:
        proxy.endpoint = endpoint + urlsplit(server).path
        yield proxy


class _Forwarder(Handler):
    faults: FaultProxy

    def respond(self) -> None:
        body = self.read_body()
        fault = self.faults.next_fault(self.command, self.path)
        if fault == "reset":
            self.reset()
        elif fault in ERRORS and fault != "lost-500":
            self._answer_error(fault)
        else:
            if fault == "slow":
                time.sleep(self.faults.plan.slow_s)
            status, headers, answer = self._forward(body)
            self._give_back(fault, status, headers, answer)

    def _give_back(self, fault: Fault | None, status: int, headers: dict[str, str], body: bytes) -> None:
        if fault == "lost":
            self.reset()
        elif fault == "lost-500":
            self._answer_error(fault)
        elif fault == "truncated" and self.command != "HEAD":
            self.begin(status, {**headers, "Content-Length": str(len(body))})
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.reset() if len(body) < 2 else self._hang_up()
        elif self.command == "HEAD":
            self.begin(status, headers)
            self.wfile.flush()
        else:
            flipped = fault == "flipped" and body
            self.answer(status, headers, bytes([body[0] ^ 1]) + body[1:] if flipped else body)

    def _hang_up(self) -> None:
        self.close_connection = True

    def _answer_error(self, fault: str) -> None:
        status, code, message = ERRORS[fault]
        body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        self.answer(status, {"Content-Type": "application/xml"}, body.encode())

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """The server's answer. The `Host` stays the proxy's, because signatures cover it."""
        connection = http.client.HTTPConnection(urlsplit(self.faults.server).netloc, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP}
            if self.command == "HEAD" and answer.getheader("Content-Length"):
                kept["Content-Length"] = str(answer.getheader("Content-Length"))
            return answer.status, kept, answer.read()
        finally:
            connection.close()
