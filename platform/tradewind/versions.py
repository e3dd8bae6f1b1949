"""Which versions of libraries work here, as records tell."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata
from importlib.util import find_spec

FROM_A_FOLDER = "not installed: imported from a folder"


def version_of(library: str) -> str:
    """Of what can be imported by that name; sources that were never installed have no version."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return FROM_A_FOLDER


def versions_of(libraries: Iterable[str]) -> dict[str, str]:
    """Of those that are here; a machine without Ray trains too."""
    return {library: version_of(library) for library in libraries if find_spec(library)}
