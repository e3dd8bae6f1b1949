"""What a piece of work takes: wall time, processor time, energy and dollars.

Energy is an estimate: processor seconds times the average power of a busy virtual processor in a cloud server, plus
memory. The averages are Cloud Carbon Footprint's for AWS (@cloud-carbon-footprint/aws 0.15.0): 0.74 W idle and
3.5 W busy per virtual processor, 0.392 W per GB of memory. Cooling and other losses of the building are not in them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tradewind.records import Effort, Machine

IDLE_WATTS_PER_CPU = 0.74
BUSY_WATTS_PER_CPU = 3.5
WATTS_PER_GB = 0.392


@dataclass
class Meter:
    """Counts from its creation on. `machine` is where the work runs."""

    machine: Machine
    _wall: float = field(default_factory=time.monotonic)
    _cpu: float = field(default_factory=time.process_time)

    def read(self) -> Effort:
        """What this process has taken since the meter was made."""
        return effort(self.machine, seconds=time.monotonic() - self._wall, cpu_seconds=time.process_time() - self._cpu)


def effort(machine: Machine, *, seconds: float, cpu_seconds: float, share: float = 1.0) -> Effort:
    """The effort of work that held a machine, or a share of it, and kept its processors busy for `cpu_seconds`."""
    held_s = seconds * share
    idle_seconds = max(0.0, held_s * machine.num_cpus - cpu_seconds)
    joules = (
        cpu_seconds * BUSY_WATTS_PER_CPU
        + idle_seconds * IDLE_WATTS_PER_CPU
        + held_s * WATTS_PER_GB * machine.memory_bytes / 1e9
    )
    return Effort(
        seconds=seconds, cpu_seconds=cpu_seconds, energy_wh=joules / 3600, usd=held_s / 3600 * machine.usd_per_hour
    )
