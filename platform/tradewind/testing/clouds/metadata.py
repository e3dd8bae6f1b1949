"""The metadata services of a lab's clouds, at the address where machines ask about themselves.

    with start_metadata() as metadata:  # inside a lab's network
        metadata.clouds[machine.address] = "aws"
        metadata.warn(machine.address, 120)

Who asks is known by the address that it asks from, as on a real cloud. Each cloud's service tells of a machine that
will be taken back, in that cloud's own form, and of nothing else.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from tradewind.testing.clouds.network import METADATA_ADDRESS
from tradewind.testing.loopback import Handler, serve

PORT = 80
TOKEN = "lab"  # noqa: S105
LONGEST_WAIT_S = 60.0


@dataclass
class Metadata:
    clouds: dict[str, str] = field(default_factory=dict)
    """`aws`, `azure` or `gcp` by a machine's address. Others get no answer but 404."""

    ends: dict[str, float] = field(default_factory=dict)
    """When a machine will be taken back, in Unix seconds, by its address."""

    _news: threading.Condition = field(default_factory=threading.Condition)

    def warn(self, address: str, warning_s: float) -> None:
        """Tell a machine that it will be taken back in so many seconds. Taking it is up to the caller."""
        with self._news:
            self.ends[address] = time.time() + warning_s
            self._news.notify_all()

    def forget(self, address: str) -> None:
        """The next machine with this address begins without news."""
        self.ends.pop(address, None)

    def wait_for_news(self, address: str, timeout_s: float) -> None:
        with self._news:
            self._news.wait_for(lambda: address in self.ends, timeout_s)


@dataclass(frozen=True)
class Question:
    metadata: Metadata
    address: str
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]

    @property
    def end(self) -> float | None:
        return self.metadata.ends.get(self.address)

    def first(self, name: str) -> str:
        return self.query.get(name, [""])[0]


@dataclass(frozen=True)
class Reply:
    status: int = 200
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@contextmanager
def start_metadata(address: str = METADATA_ADDRESS, port: int = PORT) -> Iterator[Metadata]:
    metadata = Metadata()

    class MetadataHandler(Handler):
        def respond(self) -> None:
            self.read_body()
            url = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asker = self.client_address[0]
            question = Question(metadata, asker, self.command, url.path, parse_qs(url.query), headers)
            reply = REPLIES.get(metadata.clouds.get(asker, ""), _nothing)(question)
            self.answer(reply.status, {"Content-Type": "text/plain", **reply.headers}, reply.text.encode())

    with serve(MetadataHandler, address=address, port=port):
        yield metadata


def _aws(question: Question) -> Reply:
    """IMDSv2 alone: without a token, nothing is said."""
    if question.method == "PUT" and question.path == "/latest/api/token":
        return Reply(text=TOKEN)
    if question.headers.get("x-aws-ec2-metadata-token") != TOKEN:
        return Reply(401)
    if question.path == "/latest/meta-data/spot/instance-action" and question.end is not None:
        return Reply(text=json.dumps({"action": "terminate", "time": _utc(question.end, "%Y-%m-%dT%H:%M:%SZ")}))
    return Reply(404)


def _gcp(question: Question) -> Reply:
    if question.headers.get("metadata-flavor") != "Google":
        return Reply(403)
    if question.path == "/computeMetadata/v1/instance/maintenance-event":
        return Reply(text="NONE")
    if question.path != "/computeMetadata/v1/instance/preempted":
        return Reply(404)
    if question.first("wait_for_change") == "true" and question.first("last_etag") == _etag(question):
        wait_s = float(question.first("timeout_sec") or LONGEST_WAIT_S)
        question.metadata.wait_for_news(question.address, min(wait_s, LONGEST_WAIT_S))
    return Reply(text="FALSE" if question.end is None else "TRUE", headers={"ETag": _etag(question)})


def _azure(question: Question) -> Reply:
    if question.headers.get("metadata") != "true":
        return Reply(400)
    if question.path == "/metadata/instance/compute/name":
        return Reply(text=question.address)
    if question.path != "/metadata/scheduledevents":
        return Reply(404)
    event = {
        "EventId": "lab",
        "EventType": "Preempt",
        "Resources": [question.address],
        "NotBefore": "" if question.end is None else _utc(question.end, "%a, %d %b %Y %H:%M:%S GMT"),
    }
    return Reply(text=json.dumps({"Events": [] if question.end is None else [event]}))


def _nothing(_question: Question) -> Reply:
    return Reply(404)


def _etag(question: Question) -> str:
    return "quiet" if question.end is None else "preempted"


def _utc(unix_s: float, form: str) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime(form)


REPLIES: dict[str, Callable[[Question], Reply]] = {"aws": _aws, "azure": _azure, "gcp": _gcp}
