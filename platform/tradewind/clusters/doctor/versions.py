"""Python and Ray here and in the file: Ray refuses to join what differs, after the machines have been paid for."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from tradewind.clusters.doctor.answer import Answer, ok, problem, unknown
from tradewind.clusters.lint.part import Part
from tradewind.clusters.lint.pins import SETUPS

WANTED_RAY = "2.60"
_RAY = re.compile(r"\bray(?:\[[^\]]*\])?==([0-9.]+)")
_PYTHON = re.compile(r"(?:--python[ =]|python==?)([0-9]+\.[0-9]+)")


def check_versions(part: Part | None) -> Iterator[Answer]:
    here = installed("ray")
    if here is None:
        yield problem("ray", "not installed", "pip install 'ray[default]==2.60.0'")
    else:
        yield _ray(here, pinned(part, _RAY) if part else None)
    yield _python(pinned(part, _PYTHON) if part else None)


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def pinned(part: Part, pattern: re.Pattern[str]) -> str | None:
    """What the file installs, by the first command that says it."""
    commands = (command for key in SETUPS for _, command in part.commands(key))
    return next((found[1] for command in commands if (found := pattern.search(command))), None)


def _ray(here: str, there: str | None) -> Answer:
    if there and here != there:
        fix = f"pip install 'ray[default]=={there}', or render the file for {here}"
        return problem("ray", f"{here} here, {there} in the file", fix)
    if not here.startswith(f"{WANTED_RAY}."):
        return problem("ray", f"{here}, and files are made for {WANTED_RAY}", "pip install 'ray[default]==2.60.0'")
    return ok("ray", f"{here}, as in the file" if there else here)


def _python(there: str | None) -> Answer:
    here = ".".join(platform.python_version_tuple()[:2])
    if there is None:
        return (
            unknown("python", f"{here} here; the file does not say which it installs") if there else ok("python", here)
        )
    if here != there:
        fix = f"run `ray up` from Python {there}, or render the file for {here}"
        return problem("python", f"{here} here, {there} in the file", fix)
    return ok("python", f"{here}, as in the file")
