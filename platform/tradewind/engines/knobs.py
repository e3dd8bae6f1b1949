"""An engine's own knobs, read from a mapping into a dataclass that names and types them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from tradewind.errors import SpecError, did_you_mean

Knobs = TypeVar("Knobs")


def read_knobs(kind: type[Knobs], values: Mapping[str, Any], *, engine: str) -> Knobs:
    """The knobs that a mapping sets. Raises SpecError for an unknown name, with the nearest, and for a wrong value."""
    known = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]  # any dataclass
    for name in values:
        if name not in known:
            raise SpecError(
                f"the {engine} engine has no setting {name!r}{did_you_mean(name, known)}",
                hint=f"known: {', '.join(sorted(known))}" if known else "it has none",
            )
    missing = [name for name, one in known.items() if one.default is MISSING and name not in values]
    if missing:
        raise SpecError(f"the {engine} engine needs the setting {missing[0]!r}", hint="give it in engine_settings")
    try:
        made: Knobs = TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SpecError(f"setting {where!r} of the {engine} engine: {first['msg']}", hint="see its reference") from exc
    return made
