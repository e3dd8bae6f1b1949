"""One question to a cloud's metadata service, over plain HTTP on a link-local address and past any proxy."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

LINK_LOCAL = "http://169.254.169.254"
TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    etag: str = ""


def ask(
    base: str,
    path: str,
    *,
    headers: Mapping[str, str],
    method: str = "GET",
    body: str | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Answer:
    """Raises OSError when there is no whole answer in time; every status is an answer."""
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=timeout_s)
    try:
        connection.request(method, path, body=body, headers=dict(headers))
        answer = connection.getresponse()
        return Answer(answer.status, answer.read().decode(errors="replace"), answer.headers.get("ETag", ""))
    except http.client.HTTPException as exc:
        raise OSError(f"{method} {base}{path} was answered with something that is not HTTP: {exc!r}") from exc
    finally:
        connection.close()


def expect(answer: Answer, *statuses: int) -> Answer:
    """The answer, when it has one of those statuses. Raises OSError otherwise."""
    if answer.status not in statuses:
        raise OSError(f"the metadata service answered {answer.status}: {answer.text[:200]}")
    return answer
