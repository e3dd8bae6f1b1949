"""What a stand-in for a cloud suffers, set by a test while the cloud runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Weather:
    sold_out: set[str] = field(default_factory=set)
    """Lines of place, machine type and market, such as `us-west-2 g5.xlarge spot`."""

    is_down: bool = False
    """Every request is answered with 503."""

    lost_launches: int = 0
    """So many launches more are made, and are answered as if they had failed."""

    def has(self, place: str, machine_type: str, market: str) -> bool:
        return f"{place} {machine_type} {market}" not in self.sold_out

    def loses_launch(self) -> bool:
        """Whether the answer to this launch gets lost."""
        lost = self.lost_launches > 0
        self.lost_launches -= lost
        return lost

    def to_json(self) -> dict[str, object]:
        return {"sold_out": sorted(self.sold_out), "is_down": self.is_down, "lost_launches": self.lost_launches}

    def change(self, *, sold_out: Iterable[str], is_down: bool, lost_launches: int) -> None:
        self.sold_out, self.is_down, self.lost_launches = set(sold_out), is_down, lost_launches
