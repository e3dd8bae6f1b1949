"""JSON answers of price APIs over HTTP: patience with a busy server, and errors that say what to do.

A refresh is some dozens of requests, one after the other, so Python's own client does and the base install needs no
other. It follows no redirects, which would carry credentials to whoever is named in one.
"""

from __future__ import annotations

import http.client
import json
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any

from tradewind.errors import AuthError, SpecError, StorageError, TradewindError

TRIES = 5
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 90.0
"""The retail prices of Azure throttle for about a minute at a time."""
TIMEOUT_S = 60.0

PASSING = {408, 429, 500, 502, 503, 504}
WAIT_HEADERS = ("Retry-After", "x-ms-ratelimit-retailprices-retry-after")
"""Seconds or an HTTP date. The second one is Azure's own:
https://blog.zuehlke.cloud/2024/03/azure-pay-as-you-go-prices-repository/."""


def get_json(
    url: str, parameters: Mapping[str, str], *, what: str, headers: Mapping[str, str] | None = None, login: str = ""
) -> Any:
    """The JSON behind an address. `what` names the API in messages, `login` says what credentials to set.

    Tries again with full jitter when the server is busy or the line breaks, at most `TRIES` times, and waits as long
    as the server asks, up to `LONGEST_PAUSE_S`. Raises AuthError, StorageError, and SpecError for an address that is
    none. Credentials belong into `headers`: addresses stand in messages.
    """
    request = urllib.request.Request(_address(url, parameters, what), headers=dict(headers or {}))  # noqa: S310
    tried = 1
    while True:
        try:
            return _ask(request, what, login)
        except _PassingError as passing:
            pause_s = _pause_s(tried, passing.after_s)
            if tried >= TRIES or pause_s > LONGEST_PAUSE_S:
                raise passing.error from passing
        time.sleep(pause_s)
        tried += 1


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


class _PassingError(Exception):
    """What may be gone at the next try; `error` is raised when there is none."""

    def __init__(self, error: TradewindError, after_s: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.after_s = after_s


def _address(url: str, parameters: Mapping[str, str], what: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SpecError(f"{url!r} is no address of {what}", hint="it is like https://host/path")
    query = urllib.parse.urlencode(parameters, quote_via=urllib.parse.quote)
    return urllib.parse.urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, query)))))


def _ask(request: urllib.request.Request, what: str, login: str) -> Any:
    try:
        with _OPENER.open(request, timeout=TIMEOUT_S) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as exc:
        raise _refusal(exc, what, login) from exc
    except (OSError, http.client.HTTPException) as exc:
        raise _passing(f"{what} at {request.host} did not answer to the end: {exc or type(exc).__name__}") from exc
    except ValueError as exc:
        raise _passing(f"{what} at {request.host} answered with something that is not whole JSON: {exc}") from exc


def _passing(message: str, after_s: float | None = None) -> _PassingError:
    return _PassingError(StorageError(message, hint="try again later"), after_s)


def _refusal(refused: urllib.error.HTTPError, what: str, login: str) -> Exception:
    with refused:
        said = _said(refused)
    message = f"{what} refused with {refused.code}: {said}"
    if refused.code in (401, 403) or "API_KEY_INVALID" in said:
        return AuthError(message, hint=login or "check who may read prices there")
    if refused.code in PASSING:
        return _passing(message, _after_s(refused.headers))
    return StorageError(message, hint="check the address of the price API, or wait for a newer tradewind")


def _said(refused: urllib.error.HTTPError) -> str:
    """The start of a refusal, on one line. Google's reason stands far down in its details."""
    try:
        text = " ".join(refused.read(4096).decode(errors="replace").split())
    except (OSError, http.client.HTTPException):
        return refused.reason
    reason = " API_KEY_INVALID" if "API_KEY_INVALID" in text else ""
    return (text[:200] + reason) or refused.reason


def _pause_s(tried: int, after_s: float | None) -> float:
    if after_s is not None:
        return max(after_s, 0.0)
    return random.uniform(0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (tried - 1)))


def _after_s(headers: Message) -> float | None:
    waits = [_seconds(text) for name in WAIT_HEADERS if (text := headers.get(name))]
    known = [wait for wait in waits if wait is not None]
    return max(known) if known else None


def _seconds(text: str) -> float | None:
    if text.strip().isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    return (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
