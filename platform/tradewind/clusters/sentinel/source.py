"""Where notices come from: one small class for each cloud's metadata service, and one for drills."""

from __future__ import annotations

from typing import Protocol

from tradewind.clusters.notices import Notice


class Source(Protocol):
    pause_s: float
    """Between two questions; 0 where the question itself waits for news."""

    def poll(self) -> Notice | None:
        """What is to come, if anything. Raises OSError or ValueError when there is no answer, or none that is one."""

    def acknowledge(self, notice: Notice) -> None:
        """Say that this machine has finished. Raises OSError when that is not heard."""
