"""What a policy may do: bounds, goals and patience."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from tradewind.errors import SpecError, did_you_mean


@dataclass(frozen=True)
class Limits:
    """Times are in seconds. Raises SpecError for bounds that contradict each other."""

    min: int = 1
    max: int = 10
    ttft_s: float | None = None
    """Time to the first token that 95 % of requests should stay below; None sets no goal."""
    target_tokens: float | None = None
    """Tokens in flight that a replica should hold; None is the capacity that replicas report, less room for what comes
    unevenly."""
    up_after_s: float = 0.0
    """How long more must be needed before more is asked for."""
    down_after_s: float = 30.0
    """How long less must be enough before less is asked for; up to twice as long while demand comes in bursts."""
    cool_down_s: float = 30.0
    """After a change, the time without one in the other direction. Waking from zero is exempt."""
    idle_to_zero_s: float = 300.0
    """With `min` 0, the time without a request after which the last replica ends."""
    cold_start_s: float = 10.0
    """From asking for a replica to its first answer: how far ahead to look."""
    forecast: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.min <= self.max or self.max < 1:
            raise SpecError(
                f"scaling from {self.min} to {self.max} replicas is no range",
                hint="min is at least 0, max at least min and 1",
            )
        for name in ("up_after_s", "down_after_s", "cool_down_s", "idle_to_zero_s", "cold_start_s"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise SpecError(f"scaling: {name} is {value}", hint="give a time of 0 s or more")
        for name in ("ttft_s", "target_tokens"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise SpecError(f"scaling: {name} is {value}", hint="give a number above 0, or leave it out")

    @classmethod
    def of(cls, values: Any) -> Limits:
        """From a mapping, or from an object with attributes of these names, like the block of a spec; others are left.

        Raises SpecError for a mapping's key that is none of them.
        """
        names = [field.name for field in fields(cls)]
        if isinstance(values, dict):
            for key in values:
                if key not in names:
                    raise SpecError(f"scaling has no {key!r}{did_you_mean(key, names)}")
            return cls(**values)
        given = {name: getattr(values, name, None) for name in names}
        return cls(**{name: value for name, value in given.items() if value is not None})

    def within(self, replicas: int) -> int:
        return min(self.max, max(self.min, replicas))
