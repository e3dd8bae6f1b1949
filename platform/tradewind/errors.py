"""Everything that tradewind raises on purpose.

    TradewindError
      SpecError          fix     a wish that cannot be read or cannot be met
      NotFoundError      fix     a name, version or alias that does not exist
      AuthError          fix     refused credentials
      IntegrityError     fix     stored bytes differ from what was recorded
      ArchivedError      fix     an object in an archive, which must be restored before it is read
      QuotaError         fix     a limit that people set would be passed
      NoPlanError        fix     nothing on offer meets a wish; `misses` says what comes nearest
      RunError           fix     a run failed; `failures` says why, by rank
      ConflictError      retry   another writer was faster
      StorageError       retry   a store did not answer as it should
      CloudError         retry   a cloud that rents machines did not answer as it should
      CapacityError      move    this machine or place has too little of something

`remedy` is what a scheduler reads: `fix` (a person must change something), `retry` (the same again may work) or
`move` (the same elsewhere may work). It never reads the text. Each error survives pickling between Ray processes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

Remedy = Literal["fix", "retry", "move"]


class TradewindError(Exception):
    """An error with a message that says what happened and a hint that says what to do."""

    remedy: ClassVar[Remedy] = "fix"
    exit_code: ClassVar[int] = 1
    """What the command line exits with: 2 when the user's request was at fault, 1 for a failure."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, dict(self.__dict__))

    def to_dict(self) -> dict[str, Any]:
        """The error as plain data, for `--json` and for HTTP answers."""
        return {"error": type(self).__name__, "message": self.message, "hint": self.hint, "remedy": self.remedy}


class SpecError(TradewindError):
    exit_code = 2


class NotFoundError(TradewindError):
    exit_code = 2


class AuthError(TradewindError):
    exit_code = 2


class IntegrityError(TradewindError):
    pass


class QuotaError(TradewindError):
    pass


class ArchivedError(TradewindError):
    exit_code = 2


class NoPlanError(TradewindError):
    """Nothing on offer meets a wish. `misses` are the nearest offers with what each of them lacks."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None, misses: Iterable[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.misses = tuple(misses)

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "misses": list(self.misses)}


class RunError(TradewindError):
    """A run failed. `failures` maps a worker's rank to the last line of what it raised."""

    def __init__(self, message: str, *, hint: str | None = None, failures: Mapping[int, str] | None = None) -> None:
        super().__init__(message, hint=hint)
        self.failures = dict(failures or {})

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "failures": self.failures}


class ConflictError(TradewindError):
    remedy = "retry"


class StorageError(TradewindError):
    remedy = "retry"


class CloudError(TradewindError):
    remedy = "retry"


class CapacityError(TradewindError):
    remedy = "move"


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """A clause for a message: ` (did you mean 'aws'?)`, ` (known: a, b)` or nothing."""
    names = sorted(known)
    near = difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)
    if near:
        return f" (did you mean {near[0]!r}?)"
    return f" (known: {', '.join(names[:8])}{', …' if len(names) > 8 else ''})" if names else ""


def _rebuild(kind: type[TradewindError], message: str, state: dict[str, Any]) -> TradewindError:
    error = kind(message)
    error.__dict__.update(state)
    return error
