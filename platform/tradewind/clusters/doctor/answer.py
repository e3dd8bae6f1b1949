"""What a check has found: all right, a problem with what to do, or something that could not be checked here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "problem", "unknown"]


@dataclass(frozen=True)
class Answer:
    what: str
    state: State
    said: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.state:<8}{self.what}: {self.said}" + (f" → {self.fix}" if self.fix else "")

    def to_dict(self) -> dict[str, str]:
        return {"what": self.what, "state": self.state, "found": self.said, "fix": self.fix}


def ok(what: str, said: str) -> Answer:
    return Answer(what, "ok", said)


def problem(what: str, said: str, fix: str) -> Answer:
    return Answer(what, "problem", said, fix)


def unknown(what: str, said: str, fix: str = "") -> Answer:
    """What nobody can say from here, like whether credentials work while the cloud does not answer."""
    return Answer(what, "unknown", said, fix)
