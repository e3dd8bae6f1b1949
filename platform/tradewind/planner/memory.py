"""What lies in one chip's memory when most of it is used."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

from tradewind.units import format_bytes

Moment = Literal["loss", "backward", "update", "serving"]
"""When memory is fullest: at the loss, with all activations; in the backward pass; while the optimizer steps."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one chip at its fullest moment, by what they hold. Estimated."""

    moment: Moment
    weights: float
    """In all their copies that last: those for products, and those that the optimizer changes."""
    optimizer: float = 0.0
    gradients: float = 0.0
    activations: float = 0.0
    logits: float = 0.0
    """With what the loss and its derivative add to them."""
    gathered: float = 0.0
    """Weights of other chips, or in another precision, for the time they are used."""
    communication: float = 0.0
    cache: float = 0.0
    """Keys and values."""
    fragmentation: float = 0.0
    """Held by the allocator and not usable."""
    framework: float = 0.0
    """Outside the allocator: the device's context, communicators, the process."""

    @property
    def total_bytes(self) -> int:
        states = self.weights + self.optimizer + self.gradients + self.gathered + self.cache
        passing = self.activations + self.logits + self.communication
        return math.ceil(states + passing + self.fragmentation + self.framework)

    @property
    def reserved_bytes(self) -> int:
        """What the allocator holds: the total without the framework; `max_memory_reserved` of torch."""
        return self.total_bytes - math.ceil(self.framework)

    def parts(self) -> dict[str, float]:
        """Bytes by part, those that are there."""
        named = {field.name: getattr(self, field.name) for field in fields(self)[1:]}
        return {name: size for name, size in named.items() if size > 0}

    def __str__(self) -> str:
        """`63.1 GiB at the loss: weights 15.0 GiB, optimizer 29.9 GiB, …`."""
        parts = ", ".join(f"{name} {format_bytes(size)}" for name, size in self.parts().items())
        return f"{format_bytes(self.total_bytes)} at its fullest ({self.moment}): {parts}"
