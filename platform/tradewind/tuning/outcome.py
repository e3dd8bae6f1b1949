"""What came of a trial's work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Outcome:
    """`left`: behind a checkpoint, because the machine goes or it was asked. `lost`: its worker is gone."""

    kind: Literal["done", "left", "failed", "lost"]
    message: str = ""
    log: tuple[str, ...] = ()
    may_retry: bool = True
    seconds: float = 0.0
    noticed: bool = False
    is_stuck: bool = False
    """Its process is of no more use."""
    slot_is_gone: bool = False
