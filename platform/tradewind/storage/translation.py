"""What obstore's errors mean: which of them pass, which say that an object exists, and how each reads as one of ours.

obstore tells most of it in its text alone, so this is the only module that reads texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tradewind.errors import (
    ArchivedError,
    AuthError,
    CapacityError,
    ConflictError,
    NotFoundError,
    SpecError,
    StorageError,
    TradewindError,
)
from tradewind.storage.redaction import redacted

FULL = ("no space left", "os error 28)", "quota exceeded", "os error 122)")
REFUSED = (
    "permission denied",
    "os error 13)",
    "read-only file system",
    "os error 30)",
    "accessdenied",
    "403 forbidden",
)
OUTSIDE = ("invalid range", "range was invalid", "invalidrange", "range start")
BELOW_AN_OBJECT = "not a directory (os error 20)"
MISSING_BUCKET = ("<code>nosuchbucket</code>", "<code>containernotfound</code>", "the specified bucket does not exist")

ARCHIVED = ("<code>invalidobjectstate</code>", "<code>blobarchived</code>", "<code>blobbeingrehydrated</code>")
"""Amazon's 403 and Azure's 409 for an object that must be restored before it is read."""

PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 507, 509}
BROKEN = (
    "error sending request",
    "error decoding response body",
    "error reading a body",
    "connection reset",
    "connection closed",
    "connection refused",
    "incomplete message",
    "timed out",
    "timeout",
    "broken pipe",
    "end of file before",
    "http error: ",
    "internalerror",
    "slowdown",
    "resource deadlock",
)
"""How a request that got no whole answer reads."""

NEVER = ("builder error", "invalid url", "invalid certificate", "invalid peer certificate", "unknownissuer")
"""Failures that look like broken connections and do not pass."""

_STATUS = re.compile(r"status code: (\d{3})")


def passes(exc: BaseException) -> bool:
    """The same request may succeed in a moment: overload, a broken connection, a time-out, writers in each other's way.

    A 409 passes as well, except where it is Azure's word for an object that exists.
    """
    from obstore import exceptions as foreign

    if not isinstance(exc, (foreign.BaseError, OSError)) or isinstance(exc, FileNotFoundError) or is_taken(exc):
        return False
    if is_archived(exc):
        return False
    text = str(exc).lower()
    status = _STATUS.search(text)
    if status:
        return int(status[1]) in PASSING or "<code>requesttimeout</code>" in text
    return any(word in text for word in BROKEN) and not any(word in text for word in NEVER)


def is_taken(exc: BaseException) -> bool:
    """A create found an object. A 409 of S3 and Google says only that others write there too, now."""
    from obstore import exceptions as foreign

    if not isinstance(exc, (foreign.AlreadyExistsError, foreign.PreconditionError)):
        return False
    text = str(exc)
    return "status code: 409" not in text or "BlobAlreadyExists" in text


def is_archived(exc: BaseException) -> bool:
    text = str(exc).lower()
    return any(word in text for word in ARCHIVED)


def is_clash(exc: BaseException) -> bool:
    """The server says that it did nothing, because of another writer."""
    return "status code: 409" in str(exc)


def is_lost_upload(exc: BaseException) -> bool:
    """An upload in parts that is not known any more: its last answer was lost, or a server cleaned up."""
    return isinstance(exc, FileNotFoundError) and not _names_missing_bucket(exc)


def is_unsupported(exc: BaseException) -> bool:
    """The server knows no conditional writes and says so."""
    from obstore import exceptions as foreign

    return isinstance(exc, foreign.NotSupportedError) or "status code: 501" in str(exc)


@contextmanager
def translated(url: str, key: str) -> Iterator[None]:
    """Raises ours for what is raised by obstore inside."""
    from obstore import exceptions as foreign

    place = f"{url}/{key}"
    try:
        yield
    except FileNotFoundError as exc:
        raise _not_found(url, place, exc) from _shown(exc)
    except TradewindError:
        raise
    except (foreign.PermissionDeniedError, foreign.UnauthenticatedError) as exc:
        if is_archived(exc):
            raise _archived(place) from _shown(exc)
        raise AuthError(f"{place} is refused: {cause(exc)}", hint="check the credentials and their rights") from _shown(
            exc
        )
    except (foreign.BaseError, OSError, ValueError, OverflowError) as exc:
        if is_archived(exc):
            raise _archived(place) from _shown(exc)
        if is_taken(exc):
            raise exists_already(place) from _shown(exc)
        if _names_missing_bucket(exc):
            raise _no_bucket(url) from _shown(exc)
        raise _storage_error(place, exc) from _shown(exc)
    except BaseException as exc:
        # A panic in Rust is no Exception: obstore has one for a range that starts past the end.
        if type(exc).__name__ != "PanicException":
            raise
        raise _storage_error(place, exc) from _shown(exc)


def exists_already(place: str) -> ConflictError:
    return ConflictError(f"{place} exists already", hint="another writer was faster; read it and decide")


def cause(exc: BaseException) -> str:
    """A Rust error chain on one line, without its debug dump, and of a server's answer only what is said to people.

    The rest of the answer may hold the key id or the session token that it refuses.
    """
    text = str(exc).split("\n\nDebug source:")[0]
    chain, _, answer = text.partition(": <")
    answer = answer or text.partition(": \ufeff<")[2]
    said = [found[1] for name in ("Code", "Message") if (found := re.search(rf"<{name}>([^<]*)</{name}>", answer))]
    return redacted(re.sub(r"\s+", " ", ": ".join([chain, *said])).strip())[:300]


def _shown(exc: BaseException) -> BaseException | None:
    """What a traceback may show as the cause: nothing that quotes an answer, a signed URL or a secret."""
    text = str(exc)
    return exc if redacted(text) == text and "<Error>" not in text else None


def _not_found(url: str, place: str, exc: Exception) -> TradewindError:
    return _no_bucket(url) if _names_missing_bucket(exc) else NotFoundError(f"there is no {place}")


def _archived(place: str) -> ArchivedError:
    return ArchivedError(f"{place} is archived", hint="restore it first: tw datasets restore NAME@VERSION")


def _names_missing_bucket(exc: Exception) -> bool:
    text = str(exc).lower()
    return any(words in text for words in MISSING_BUCKET)


def _no_bucket(url: str) -> SpecError:
    """Not a NotFoundError, which would read as: the bucket is there and holds nothing yet."""
    return SpecError(f"there is no bucket for {url}", hint="create it, or correct the URL")


def _storage_error(place: str, exc: BaseException) -> StorageError | AuthError | NotFoundError | CapacityError:
    text = str(exc).lower()
    if BELOW_AN_OBJECT in text:
        return NotFoundError(f"there is no {place}: a part of its path is an object, not a folder")
    if any(word in text for word in OUTSIDE):
        return StorageError(f"{place} has no such range of bytes", hint="the object is too short")
    if any(word in text for word in FULL):
        return CapacityError(f"no room left to write {place}", hint="free some space or choose another workspace")
    if any(word in text for word in REFUSED):
        return AuthError(f"{place} is refused: {cause(exc)}", hint="check who owns it and your rights")
    return StorageError(f"{place} failed: {cause(exc)}", hint="check that the store is reachable, then try again")
