"""What a stand-in for a cloud suffers, set by a test while the cloud runs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Weather:
    sold_out: set[str] = field(default_factory=set)
    """Lines of place, machine type and market, such as `us-west-2 g5.xlarge spot`."""

    is_down: bool = False
    """Every request is answered with 503."""

    lost_launches: int = 0
    """So many launches more are made, and are answered as if they had failed."""

    silence_s: float = 0.0
    """How long the place of a lost launch answers nothing afterwards, so that its machine cannot be seen."""

    _silent_place: str = ""
    _silent_until: float = 0.0

    def has(self, place: str, machine_type: str, market: str) -> bool:
        return f"{place} {machine_type} {market}" not in self.sold_out

    def answers(self, place: str = "") -> bool:
        """Whether a place answers; without one, whether all do."""
        is_silent = time.monotonic() < self._silent_until and place in {"", self._silent_place}
        return not self.is_down and not is_silent

    def loses_launch(self, place: str) -> bool:
        """Whether the answer to this launch gets lost."""
        lost = self.lost_launches > 0
        if lost:
            self.lost_launches -= 1
            self._silent_place, self._silent_until = place, time.monotonic() + self.silence_s
        return lost

    def to_json(self) -> dict[str, Any]:
        return {
            "sold_out": sorted(self.sold_out),
            "is_down": self.is_down,
            "lost_launches": self.lost_launches,
            "silence_s": self.silence_s,
        }

    def change(self, said: dict[str, Any]) -> None:
        """To what `to_json` of another one gave. What was silent answers again."""
        self._silent_until = 0.0
        self.sold_out, self.is_down = set(said["sold_out"]), said["is_down"]
        self.lost_launches, self.silence_s = said["lost_launches"], said["silence_s"]
