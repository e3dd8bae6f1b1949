"""What would make a cluster fail, found before a machine is paid for: in its file, here, on one's own hosts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tradewind.clusters.doctor.answer import Answer
from tradewind.clusters.doctor.credentials import check_credentials, check_subscription
from tradewind.clusters.doctor.file import check_file
from tradewind.clusters.doctor.hosts import check_hosts
from tradewind.clusters.doctor.keys import check_keys
from tradewind.clusters.doctor.libraries import PACKAGES, check_libraries
from tradewind.clusters.doctor.machine import check_machine
from tradewind.clusters.doctor.versions import check_versions, installed
from tradewind.clusters.lint.part import Part, read_parts
from tradewind.errors import SpecError


def examine(path: str | Path | None = None) -> list[Answer]:
    """One answer for each thing that was looked at; without a file, what this machine alone can say.

    Raises NotFoundError and SpecError for a file that cannot be read or is not for `ray up`.
    """
    return list(_this_machine() if path is None else _with_file(Path(path)))


def _this_machine() -> Iterator[Answer]:
    """Of the clouds, those whose libraries are here."""
    yield from check_versions(None)
    yield from check_machine(None)
    yield from check_keys(None)
    here = [cloud for cloud, packages in PACKAGES.items() if installed(packages[0])]
    yield from check_libraries(here)
    yield from check_credentials(here)


def _with_file(path: Path) -> Iterator[Answer]:
    part = next((part for part in read_parts(path) if part.is_launcher), None)
    if part is None:
        raise SpecError(f"{path}: not a file for `ray up`", hint="doctor looks at those; lint at manifests as well")
    clouds = clouds_of(part)
    yield from check_file(path)
    yield from check_versions(part)
    yield from check_libraries(clouds, str(part.get("provider", "module") or ""))
    yield from check_credentials(clouds)
    yield from map(check_subscription, _azures(part))
    yield from check_keys(part)
    yield from check_hosts(part)
    yield from check_machine(part)


def clouds_of(part: Part) -> list[str]:
    """That the file launches machines in."""
    kinds = [part.provider, *(str(one.get("type")) for one in part.backends.values())]
    return [cloud for cloud in dict.fromkeys(kinds) if cloud in PACKAGES]


def _azures(part: Part) -> list[dict[str, Any]]:
    """The settings of Azure, of which a file for several clouds may have some."""
    return [one for one in (part.get("provider") or {}, *part.backends.values()) if one.get("type") == "azure"]


__all__ = ["Answer", "examine"]
