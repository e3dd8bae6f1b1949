"""Fields of an answer from outside, read one by one: a cloud may change its answers, and then a field is named."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from tradewind.errors import IntegrityError

T = TypeVar("T")

_HINT = "the API has changed its answers; look for a newer tradewind"


def field(record: Any, name: str, kind: type[T], *, of: str) -> T:
    """A field of a JSON object. Raises IntegrityError that names it where it is missing or of another kind."""
    if not isinstance(record, Mapping):
        raise IntegrityError(f"{of}: {name!r} is sought in {_short(record)}, which is no object", hint=_HINT)
    if name not in record:
        raise IntegrityError(f"{of} has no field {name!r}", hint=_HINT)
    if not isinstance(record[name], kind):
        raise IntegrityError(f"{of}: {name!r} is {_short(record[name])}, not of kind {kind.__name__}", hint=_HINT)
    value: T = record[name]
    return value


def amount(record: Any, name: str, *, of: str) -> float:
    """A field that is a number of 0 or more, also one written as text. Raises IntegrityError that names it."""
    value = field(record, name, object, of=of)
    try:
        number = math.nan if isinstance(value, bool) else float(str(value))
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise IntegrityError(f"{of}: {name!r} is {_short(value)}, not an amount", hint=_HINT)
    return number


def expect(record: Any, name: str, value: str, *, of: str) -> None:
    """Raises IntegrityError where a field is not what prices are reckoned with, such as a unit or a currency."""
    if (found := field(record, name, str, of=of)) != value:
        raise IntegrityError(f"{of}: {name!r} is {found!r}, and prices are reckoned with {value!r}", hint=_HINT)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
