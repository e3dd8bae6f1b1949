"""What is unsafe, or will be ignored, in files for `ray up` and in manifests of Kubernetes."""

from collections.abc import Iterator
from pathlib import Path

from tradewind.clusters.lint.part import Part, read_parts
from tradewind.clusters.lint.rule import Finding, Rule
from tradewind.clusters.lint.table import LAUNCHER_RULES, MANIFEST_RULES, MISSHAPEN, RULES
from tradewind.errors import SpecError


def lint(path: str | Path) -> list[Finding]:
    """All faults of a file, in the order of its lines.

    Raises NotFoundError, and SpecError for what is not YAML, or is nothing that a cluster is made of.
    """
    path = Path(path)
    parts = read_parts(path)
    if not any(part.is_launcher or part.is_manifest for part in parts):
        hint = "lint takes files for `ray up`, and manifests with apiVersion and kind"
        raise SpecError(f"{path}: neither a file for `ray up` nor a manifest of Kubernetes", hint=hint)
    found = [finding for part in parts for finding in _findings(part, str(path))]
    return sorted(found, key=lambda finding: (finding.line, finding.rule.code))


def _findings(part: Part, file: str) -> Iterator[Finding]:
    rules = MANIFEST_RULES if part.is_manifest else LAUNCHER_RULES if part.is_launcher else ()
    for rule in rules:
        try:
            for where, message in rule.find(part):
                yield Finding(rule, file, part.line(where), message)
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            words = f"{rule.what} cannot be looked for, since the file is not in the shape that is expected: {exc}"
            yield Finding(MISSHAPEN, file, part.line(()), words)


__all__ = ["RULES", "Finding", "Rule", "lint"]
