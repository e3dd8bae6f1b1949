"""Real servers behind a real front, and a client that speaks raw bytes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.conftest import free_port
from tradewind.serving.front import Front, FrontSettings
from tradewind.serving.report import ReplicaReport

PROGRAM = Path(__file__).with_name("upstream_server.py")


@dataclass
class Server:
    """A replica: uvicorn in a process of its own."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def name(self) -> str:
        return f"replica-{self.port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)


@contextmanager
def running_server(port: int | None = None) -> Iterator[Server]:
    port = port or free_port()
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    with subprocess.Popen([sys.executable, str(PROGRAM), str(port)], env=environment) as process:
        server = Server(port, process)
        try:
            wait_until(lambda: _answers(server), timeout_s=60)
            yield server
        finally:
            process.kill()


@contextmanager
def running_front(*servers: Server, **settings: Any) -> Iterator[RunningFront]:
    front = RunningFront(Front(FrontSettings(**{"port": 0, "first_answer_s": 10.0, "drain_s": 5.0, **settings})))
    try:
        for server in servers:
            front.report(server)
        yield front
    finally:
        front.front.stop()


@dataclass
class RunningFront:
    front: Front

    @property
    def port(self) -> int:
        return self.front.port

    def report(
        self,
        server: Server,
        status: Literal["starting", "ready", "draining"] = "ready",
        capacity: float = 4096,
        **more: Any,
    ) -> None:
        report = ReplicaReport(server.name, server.url, status, capacity, **more)
        asyncio.run(self.front.report(report))

    def leave(self, server: Server) -> None:
        asyncio.run(self.front.leave(server.name))

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
            return json.load(answer)

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith((name + " ", name + "{")))

    def raw(self, data: bytes = b"") -> RawClient:
        return RawClient(self.port, data)


class RawClient:
    """A socket to the front."""

    def __init__(self, port: int, data: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.buffer = b""
        self.send(data)

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def until(self, mark: bytes) -> bytes:
        """What comes up to and with `mark`."""
        while mark not in self.buffer:
            part = self.socket.recv(65536)
            if not part:
                raise EOFError(f"closed after {self.buffer!r}")
            self.buffer += part
        found, _, self.buffer = self.buffer.partition(mark)
        return found + mark

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """One answer with a content-length, or without a body."""
        head = self.until(b"\r\n\r\n").decode()
        lines = head.split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        size = int(headers.get("content-length", 0))
        while len(self.buffer) < size:
            part = self.socket.recv(65536)
            if not part:
                raise EOFError(f"closed in the body: {self.buffer!r}")
            self.buffer += part
        body, self.buffer = self.buffer[:size], self.buffer[size:]
        return int(lines[0].split()[1]), headers, body

    def rest(self) -> bytes:
        """Everything until the front closes."""
        parts = [self.buffer]
        while part := self.socket.recv(65536):
            parts.append(part)
        self.buffer = b""
        return b"".join(parts)


def ask(target: str, body: bytes = b"", *lines: str, method: str = "POST") -> bytes:
    """A request of HTTP/1.1."""
    head = [f"{method} {target} HTTP/1.1", "host: front", f"content-length: {len(body)}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def get(target: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "host: front", *lines]).encode() + b"\r\n\r\n"


def wait_until(holds: Callable[[], bool], timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("what was waited for did not happen")
        time.sleep(0.01)


def _answers(server: Server) -> bool:
    try:
        server.get("/health")
    except OSError:
        return False
    return True
