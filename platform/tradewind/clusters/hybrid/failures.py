"""What a cloud means when it refuses a launch: one of five outcomes, whatever form its error has.

Ray's providers let the errors of three SDKs through, or end them in an abort of its command line that hides them as its
context. So the whole chain of an exception is read, and in it each code: of a botocore error, of the body of a Google
or Azure answer, and of those that Azure wraps in one another. A code that no table knows is judged by its HTTP status.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tradewind.clusters.hybrid.codes import MISFIT, NO_ANSWER, OVER_QUOTA, REFUSED, REJECTED_BEFORE, SOLD_OUT
from tradewind.errors import AuthError, CapacityError, CloudError, QuotaError, SpecError, TradewindError
from tradewind.records import Outcome

QUOTA_TEXT = re.compile(r"exceed\w* (?:\w+ ){0,4}(?:quota|limit)|quota", re.IGNORECASE)
"""Azure says `OperationNotAllowed` for many reasons; a quota is told by the text."""

NOT_SENT = ("ConnectTimeoutError", "EndpointConnectionError", "ProxyConnectionError", "SSLError", "ServiceRequestError",
            "ServerNotFoundError", "ConnectionRefusedError", "NewConnectionError")  # fmt: skip
"""Exceptions of botocore, azure-core, httplib2 and Python that come before the request is sent."""

CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError",
               "DefaultCredentialsError", "RefreshError", "ClientAuthenticationError",
               "CredentialUnavailableError")  # fmt: skip

ABORT = "cli_logger.abort()"
_WORD = re.compile(r"[A-Za-z_.]{4,60}")


class HostsInUseError(CapacityError):
    """No own host is free. Asking again costs nothing, and one may be given back at any time."""


@dataclass(frozen=True)
class Failure:
    """`made_maybe`: the request may have been carried out, so that machines must be looked for."""

    outcome: Outcome
    code: str
    error: TradewindError
    made_maybe: bool

    @property
    def reason(self) -> str:
        return self.error.message


def understand(exc: BaseException, *, where: str) -> Failure:
    """What an exception of a cloud's SDK or of Ray's provider means. `where` names the request in the message."""
    if isinstance(exc, TradewindError):
        return Failure(_outcome_of(exc), type(exc).__name__, exc, made_maybe=False)
    chain = list(_chain(exc))
    codes = [code for link in chain for code in _codes(link)]
    names = [kind.__name__ for link in chain for kind in type(link).__mro__]
    outcome, code = _judge(chain, codes, names)
    maybe = outcome == "no_answer" and code not in REJECTED_BEFORE and not set(names) & set(NOT_SENT)
    return Failure(outcome, code, _error(outcome, f"{where}: {_text(chain, code)}"), made_maybe=maybe)


def hint_of(outcome: Outcome) -> str:
    """What to do about a launch that ended so."""
    return _ERRORS[outcome][1]


def _judge(chain: list[BaseException], codes: list[str], names: list[str]) -> tuple[Outcome, str]:
    for outcome, table in _TABLES.items():
        if found := next((code for code in codes if code in table), None):
            return outcome, found
    if "OperationNotAllowed" in codes:
        return ("over_quota" if QUOTA_TEXT.search(_text(chain, "")) else "misfit"), "OperationNotAllowed"
    if refused := next((name for name in names if name in CREDENTIALS), None):
        return "refused", refused
    if found := next((code for code in codes if code.startswith("Invalid") or code.endswith(".NotFound")), None):
        return "misfit", found
    code = codes[0] if codes else type(_plain(chain)).__name__
    status = next((status for link in chain if (status := _status(link))), 0)
    return _by_status(status), code


_TABLES: Mapping[Outcome, frozenset[str]] = {
    "sold_out": SOLD_OUT,
    "over_quota": OVER_QUOTA,
    "refused": REFUSED,
    "no_answer": NO_ANSWER,
    "misfit": MISFIT,
}
"""In the order in which they are asked: of several codes, the innermost reason is the one that can be acted on."""


def _by_status(status: int) -> Outcome:
    if status in (401, 403):
        return "refused"
    return "misfit" if 400 <= status < 500 and status not in (408, 409, 429) else "no_answer"


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """An exception and what it came from, also through Ray's NodeLaunchException."""
    seen: set[int] = set()
    waiting: list[Any] = [exc]
    while waiting:
        link = waiting.pop(0)
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        source = getattr(link, "src_exc_info", None)
        waiting += [link.__cause__, link.__context__, source[1] if source else None]


def _codes(exc: BaseException) -> Iterator[str]:
    if isinstance(category := getattr(exc, "category", None), str):  # Ray's NodeLaunchException
        yield category
    response = getattr(exc, "response", None)
    if isinstance(response, dict):  # botocore's ClientError
        yield str(response.get("Error", {}).get("Code", ""))
    for body in _bodies(exc):
        yield from _codes_in(body)


def _bodies(exc: BaseException) -> Iterator[Any]:
    """What an answer held: Google's `content`, the error that Ray takes out of an operation, Azure's `error`."""
    if isinstance(content := getattr(exc, "content", None), bytes | str):
        yield _parsed(content)
    if exc.args and isinstance(exc.args[0], dict):
        yield exc.args[0]
    if (error := getattr(exc, "error", None)) is not None:
        yield _azure(error)


def _azure(error: Any) -> dict[str, Any]:
    """An ODataV4Format of azure-core as the JSON that it was made of."""
    details = [_azure(inner) for inner in getattr(error, "details", None) or ()]
    return {"code": getattr(error, "code", ""), "message": getattr(error, "message", ""), "details": details}


def _parsed(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {}


def _codes_in(body: Any) -> Iterator[str]:
    """Each `code`, `reason` and `status` word in a body, the innermost first; a message may be JSON again."""
    if isinstance(body, list):
        for item in body:
            yield from _codes_in(item)
    if not isinstance(body, dict):
        return
    for key, value in body.items():
        if isinstance(value, dict | list):
            yield from _codes_in(value)
        elif key == "message" and isinstance(value, str) and value.lstrip().startswith("{"):
            yield from _codes_in(_parsed(value))
    yield from (str(body[key]) for key in ("code", "reason", "status") if _is_code(body.get(key)))


def _is_code(value: Any) -> bool:
    return isinstance(value, str) and _WORD.fullmatch(value) is not None


def _status(exc: BaseException) -> int:
    for holder in (exc, getattr(exc, "resp", None), getattr(exc, "response", None)):
        for name in ("status_code", "status"):
            if isinstance(status := getattr(holder, name, None), int):
                return status
    response = getattr(exc, "response", None)
    meta = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    return int(meta.get("HTTPStatusCode", 0))


def _text(chain: list[BaseException], code: str) -> str:
    """The line that says most: of the first link that holds the code, or else of the outermost one."""
    holder = next((link for link in chain if code and code in str(link)), _plain(chain))
    line = " ".join(str(holder).split()) or type(holder).__name__
    return line if code in line else f"{code}: {line}"


def _plain(chain: list[BaseException]) -> BaseException:
    """The outermost exception that says something; an abort of Ray's command line only says that it is one."""
    return next((link for link in chain if ABORT not in str(link) and not isinstance(link, SystemExit)), chain[-1])


def _error(outcome: Outcome, message: str) -> TradewindError:
    kind, hint = _ERRORS[outcome]
    return kind(message, hint=hint)


_ERRORS: Mapping[Outcome, tuple[type[TradewindError], str]] = {
    "in_use": (HostsInUseError, "add hosts to the backend"),
    "sold_out": (CapacityError, "the next candidate is tried; more candidates make this rarer"),
    "over_quota": (QuotaError, "ask the cloud for a higher quota, or take the candidate out"),
    "refused": (AuthError, "check the credentials of this backend and what they allow"),
    "misfit": (SpecError, "mend the candidate's node_config: its image, region, zone, subnet or machine type"),
    "no_answer": (CloudError, "it is tried again"),
}


def _outcome_of(error: TradewindError) -> Outcome:
    return next((outcome for outcome, (kind, _) in _ERRORS.items() if isinstance(error, kind)), "no_answer")
