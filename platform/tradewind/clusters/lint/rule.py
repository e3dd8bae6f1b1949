"""What a rule is, and what it has found: where in which file, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tradewind.specs.document import Where

if TYPE_CHECKING:
    from tradewind.clusters.lint.part import Part

Severity = Literal["error", "warning"]
Fault = tuple[Where, str]
"""Where in a part of a file, and what is wrong there."""


@dataclass(frozen=True)
class Rule:
    code: str
    severity: Severity
    what: str
    """The fault in a few words."""
    remedy: str
    find: Callable[[Part], Iterator[Fault]]


@dataclass(frozen=True)
class Finding:
    rule: Rule
    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule.code} {self.rule.severity}: {self.message}; {self.rule.remedy}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "code": self.rule.code,
            "severity": self.rule.severity,
            "file": self.file,
            "line": self.line,
            "message": self.message,
            "remedy": self.rule.remedy,
        }
