"""`name@version` and `name@alias`: how everything versioned is named."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from tradewind.errors import SpecError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
VERSION_DIGITS = 12


@dataclass(frozen=True)
class Reference:
    """A name with a version number, an alias, or neither (then the newest version is meant)."""

    name: str
    version: int | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read `name`, `name@3`, `name@v3` or `name@alias`. Raises SpecError for anything else."""
        name, at, tail = text.partition("@")
        check_name(name)
        if not at:
            return cls(name)
        number = re.fullmatch(r"v?([0-9]+)", tail)
        if number and len(number[1]) <= VERSION_DIGITS and int(number[1]) > 0:
            return cls(name, version=int(number[1]))
        if not number and NAME.fullmatch(tail):
            return cls(name, alias=tail)
        raise SpecError(f"{text!r} is not a reference", hint="write name@3 (versions start at 1) or name@alias")

    def __str__(self) -> str:
        tail = self.alias if self.alias else self.version
        return self.name if tail is None else f"{self.name}@{tail}"


def check_name(name: str) -> str:
    """The name, if it can stand in a path and a URL. Raises SpecError otherwise."""
    if not NAME.fullmatch(name):
        raise SpecError(
            f"{name!r} is not a name", hint="use 1 to 63 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit"
        )
    return name


def check_alias(alias: str) -> str:
    """The alias, if `name@alias` can mean it. Raises SpecError for what is no name, and for a version number."""
    if Reference.parse(f"x@{check_name(alias)}").alias is None:
        raise SpecError(f"{alias!r} is a version and no alias", hint="use a word, like prod")
    return alias


def _checked_name(value: str) -> str:
    try:
        return check_name(value)
    except SpecError as exc:
        raise ValueError(f"{exc.message}; {exc.hint}") from exc


def _checked_reference(value: str) -> str:
    try:
        return str(Reference.parse(value))
    except SpecError as exc:
        raise ValueError(f"{exc.message}; {exc.hint}") from exc


Name = Annotated[str, AfterValidator(_checked_name)]
Ref = Annotated[str, AfterValidator(_checked_reference)]
