"""A stand-in for Google Cloud Storage, in this process and in memory, that keeps its promises to writers.

It knows both APIs, generations and their preconditions, ranges, listings in pages, multipart and resumable uploads,
storage classes and rewrites. It does not know accounts (every request is allowed), versions of an object that was
replaced, rights, or time: nothing is deleted by life-cycle rules.

    with start_gcs() as server:
        os.environ["STORAGE_EMULATOR_HOST"] = server.endpoint
        open_store("gs://harbour/prefix")
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from tradewind.testing.gcs_buckets import Buckets, Refusal
from tradewind.testing.gcs_exchange import Request
from tradewind.testing.gcs_json import answer_json, answers_json, refusal_json
from tradewind.testing.gcs_xml import answer_xml, refusal_xml
from tradewind.testing.loopback import Handler, serve


@dataclass(frozen=True)
class Gcs:
    endpoint: str
    buckets: Buckets


@contextmanager
def start_gcs(*buckets: str, page_size: int = 1000) -> Iterator[Gcs]:
    """A server with these buckets, or with one named `harbour`, while the block runs."""
    held = Buckets(buckets or ("harbour",), page_size=page_size)

    class GcsHandler(Handler):
        def respond(self) -> None:
            body = self.read_body()
            url = urlsplit(self.path)
            query = dict(parse_qsl(url.query, keep_blank_values=True))
            headers = {name.lower(): value for name, value in self.headers.items()}
            endpoint = f"http://{self.headers.get('Host')}"
            request = Request(self.command, url.path, query, headers, body, endpoint)
            answer_with, refuse_with = (
                (answer_json, refusal_json) if answers_json(url.path) else (answer_xml, refusal_xml)
            )
            try:
                answer = answer_with(held, request)
            except Refusal as refusal:
                answer = refuse_with(refusal)
            except Exception as exc:  # noqa: BLE001 - a mistake of ours is an answer too, or a client would ask for minutes
                answer = refuse_with(Refusal(400, "mistakeOfTheStandIn", f"{type(exc).__name__}: {exc}"))
            self.answer(answer.status, answer.headers, answer.body)

    with serve(GcsHandler) as endpoint:
        yield Gcs(endpoint, held)
