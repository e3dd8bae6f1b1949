"""A server that stands in for price APIs: it gives prepared answers in turn and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text())


@dataclass(frozen=True)
class Answer:
    """`cut` says more bytes than it sends, as a line that breaks does."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


def as_json(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None, cut: bool = False) -> Answer:
    return Answer(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})}, cut)


@dataclass(frozen=True)
class Asked:
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: str


@dataclass
class Cloud:
    """`answers` are by call: the name of an AWS action, or else the path."""

    endpoint: str
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def gives(self, call: str, *answers: Answer) -> None:
        self.answers.setdefault(call, []).extend(answers)

    def answer(self, asked: Asked) -> Answer:
        """The next one for this call; what nobody prepared is a refusal that no test expects."""
        self.asked.append(asked)
        waiting = self.answers.get(_call(asked), [])
        return waiting.pop(0) if waiting else Answer(f"nothing prepared for {_call(asked)}".encode(), 418)


@contextmanager
def running_cloud() -> Iterator[Cloud]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    cloud = Cloud(f"http://127.0.0.1:{server.server_address[1]}")
    _Handler.clouds[server.server_address[1]] = cloud
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield cloud
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        del _Handler.clouds[server.server_address[1]]


def spot_history(rows: Iterable[Mapping[str, str]], *, next_token: str = "") -> Answer:
    """An answer of DescribeSpotPriceHistory, after the example in the API reference of EC2."""
    items = "".join(
        "<item>" + "".join(f"<{name}>{value}</{name}>" for name, value in row.items()) + "</item>" for row in rows
    )
    text = (
        '<DescribeSpotPriceHistoryResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
        "<requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId>"
        f"<spotPriceHistorySet>{items}</spotPriceHistorySet><nextToken>{next_token}</nextToken>"
        "</DescribeSpotPriceHistoryResponse>"
    )
    return Answer(text.encode(), headers={"Content-Type": "text/xml"})


def ec2_refusal(code: str, message: str, *, status: int) -> Answer:
    text = f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors></Response>"
    return Answer(text.encode(), status, {"Content-Type": "text/xml"})


def _call(asked: Asked) -> str:
    if target := asked.headers.get("X-Amz-Target"):
        return target.partition(".")[2]
    return parse_qs(asked.body).get("Action", [asked.path])[0]


class _Handler(BaseHTTPRequestHandler):
    clouds: dict[int, Cloud] = {}  # noqa: RUF012
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        cloud = self.clouds[self.server.server_address[1]]  # type: ignore[index]
        answer = cloud.answer(Asked(parts.path, query, dict(self.headers), body))
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body) + (100 if answer.cut else 0)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)
        self.close_connection = True

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        return None
