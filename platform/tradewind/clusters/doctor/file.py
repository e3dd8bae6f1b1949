"""What lint says of a file, in short: unsafe parts, and parts that Ray takes without a word and never looks at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tradewind.clusters.doctor.answer import Answer, ok, problem
from tradewind.clusters.lint import lint

SILENT = ("TW141", "TW142", "TW143")
"""Rules of what Ray's second autoscaler ignores."""


def check_file(path: Path) -> Iterator[Answer]:
    found = lint(path)
    silent = [one for one in found if one.rule.code in SILENT]
    for one in silent:
        yield problem("ignored by Ray", f"line {one.line}: {one.message}", one.rule.remedy)
    if not silent:
        yield ok("ignored by Ray", "nothing")
    errors = [one for one in found if one.rule.severity == "error" and one not in silent]
    if errors:
        codes = ", ".join(sorted({one.rule.code for one in errors}))
        yield problem("safety", f"{len(errors)} errors ({codes})", f"tw cluster lint {path}")
    else:
        yield ok("safety", "lint finds no error")
