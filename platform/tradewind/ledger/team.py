"""Whose work this is."""

from __future__ import annotations

import os

from tradewind.errors import SpecError
from tradewind.specs.reference import check_name

VARIABLE = "TRADEWIND_TEAM"


def this_team() -> str:
    """`$TRADEWIND_TEAM`, or nothing: then the work is nobody's in particular. Raises SpecError for what is no name."""
    team = os.environ.get(VARIABLE, "")
    try:
        return check_name(team) if team else ""
    except SpecError as exc:
        raise SpecError(f"{VARIABLE}: {exc.message}", hint=exc.hint) from exc
