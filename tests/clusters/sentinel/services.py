"""Metadata services on the loopback, with the paths, headers and answers of the clouds' documentation."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tradewind.testing.loopback import Handler, serve

NAME = "harbour-3"


@dataclass
class Service:
    """What a service knows now. `asked` holds each request's method and path."""

    url: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def set(self, **values: Any) -> None:
        with self.changed:
            self.values.update(values)
            self.changed.notify_all()

    @property
    def etag(self) -> str:
        return f"{abs(hash(repr(self.values))):x}"


class _Service(Handler):
    service: Service

    def respond(self) -> None:
        body = self.read_body().decode()
        self.service.asked.append((self.command, self.path))
        self.reply(urlsplit(self.path).path, body)

    def reply(self, path: str, body: str) -> None:
        raise NotImplementedError

    def say(self, status: int, text: str = "", **headers: str) -> None:
        self.answer(status, headers, text.encode())


class _Aws(_Service):
    """IMDSv2: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html."""

    def reply(self, path: str, body: str) -> None:
        values = self.service.values
        if path == "/latest/api/token":
            asks_right = self.command == "PUT" and self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
            return self.say(200, values["token"]) if asks_right else self.say(400)
        if self.headers.get("X-aws-ec2-metadata-token") != values["token"]:
            return self.say(401, "401 - Unauthorized")
        key = path.rpartition("/")[2]
        return self.say(200, json.dumps(values[key])) if key in values else self.say(404, "404 - Not Found")


class _Gcp(_Service):
    """https://cloud.google.com/compute/docs/metadata/querying-metadata#waitforchange."""

    def reply(self, path: str, body: str) -> None:
        if self.headers.get("Metadata-Flavor") != "Google":
            return self.say(403)
        query = parse_qs(urlsplit(self.path).query)
        if query.get("wait_for_change"):
            timeout_s = float(query["timeout_sec"][0])
            with self.service.changed:
                self.service.changed.wait_for(lambda: self.service.etag != query["last_etag"][0], timeout_s)
        return self.say(200, self.service.values[path.rpartition("/")[2]], ETag=self.service.etag)


class _Azure(_Service):
    """https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events."""

    def reply(self, path: str, body: str) -> None:
        if self.headers.get("Metadata") != "true":
            return self.say(400)
        if path == "/metadata/instance/compute/name":
            return self.say(200, NAME)
        if self.command == "POST":
            started = [request["EventId"] for request in json.loads(body)["StartRequests"]]
            self.service.set(started=started)
            return self.say(200)
        return self.say(200, json.dumps({"DocumentIncarnation": 1, "Events": self.service.values["events"]}))


@contextmanager
def start_aws() -> Iterator[Service]:
    with _start(_Aws, token="a-token") as service:
        yield service


@contextmanager
def start_gcp() -> Iterator[Service]:
    with _start(_Gcp, **{"preempted": "FALSE", "maintenance-event": "NONE"}) as service:
        yield service


@contextmanager
def start_azure() -> Iterator[Service]:
    with _start(_Azure, events=[]) as service:
        yield service


@contextmanager
def _start(kind: type[_Service], **values: Any) -> Iterator[Service]:
    service = Service(values=values)
    handler = type(kind.__name__, (kind,), {"service": service})
    with serve(handler) as url:
        service.url = url
        yield service
