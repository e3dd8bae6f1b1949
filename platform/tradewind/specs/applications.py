"""Files of Ray Serve as wishes: what `serve deploy` reads, read as specs, so that one file is the wish of both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tradewind.errors import SpecError
from tradewind.specs.document import Document, Where

BUILDER = "tradewind.serving.application:build"
"""The import path of the applications that are ours."""

OF_SERVE = ("proxy_location", "http_options", "grpc_options", "logging_config", "applications")
"""What Ray Serve's `ServeDeploySchema` has at the top of a file (Ray 2.60)."""


def wishes(document: Document) -> list[Document]:
    """The arguments of each application of ours, with the lines of the file. Raises SpecError."""
    if unknown := sorted(set(document.values) - {*OF_SERVE, "target_capacity"}):
        raise SpecError(f"{document.place((unknown[0],))}: Ray Serve knows no key {unknown[0]!r}")
    found = list(_ours(document))
    if not found:
        raise SpecError(f"{document.name}: no application of tradewind", hint=f"import_path: {BUILDER}")
    return found


def place_of(document: Document, name: str) -> Where:
    """Where in a file the wish of an application stands; of a file with one wish alone, its top."""
    for index, application in enumerate(document.values.get("applications", ())):
        if application.get("name") == name:
            return ("applications", index, "args")
    return ()


def _ours(document: Document) -> Iterator[Document]:
    applications = document.values["applications"]
    if not isinstance(applications, list):
        raise SpecError(f"{document.place(('applications',))}: applications is a list")
    for index, application in enumerate(applications):
        where: Where = ("applications", index)
        if not isinstance(application, dict):
            raise SpecError(f"{document.place(where)}: an application is a mapping of keys to values")
        if application.get("import_path") == BUILDER:
            yield _wish(document, application, where)


def _wish(document: Document, application: dict[str, Any], where: Where) -> Document:
    """Serve does not tell a builder the application's name, so the arguments say it again."""
    arguments = application.get("args") or {}
    inside = (*where, "args")
    if not isinstance(arguments, dict):
        raise SpecError(f"{document.place(inside)}: args is a mapping of keys to values")
    name = application.get("name")
    if arguments.get("name") != name:
        raise SpecError(
            f"{document.place((*inside, 'name'))}: the application is named {name!r}; write it in args, too"
        )
    lines = {key[len(inside) :]: line for key, line in document.lines.items() if key[: len(inside)] == inside}
    return Document(document.name, arguments, lines)
