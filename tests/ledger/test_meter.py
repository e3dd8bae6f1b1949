from __future__ import annotations

import time

import pytest

from tradewind.ledger import Meter, effort
from tradewind.records import Effort, Machine

MACHINE = Machine(host="quay", processor="Xeon", num_cpus=4, memory_bytes=16_000_000_000, usd_per_hour=0.36)


def test_effort_of_an_hour_is_what_a_person_computes() -> None:
    """4 processors for an hour, 5 000 s of them busy and 9 400 s idle, and 16 GB."""
    joules = 5_000 * 3.5 + 9_400 * 0.74 + 3_600 * 16 * 0.392
    assert joules == pytest.approx(47_035.2)
    made = effort(MACHINE, seconds=3600, cpu_seconds=5000)
    assert (made.seconds, made.cpu_seconds) == (3600, 5000)
    assert made.usd == pytest.approx(0.36)
    assert made.energy_wh == pytest.approx(47_035.2 / 3600)
    assert made.energy_basis == "estimated"


def test_idle_machine_takes_its_idle_power() -> None:
    made = effort(MACHINE, seconds=3600, cpu_seconds=0)
    assert made.energy_wh == pytest.approx(4 * 0.74 + 16 * 0.392)
    assert made.usd == pytest.approx(0.36)


def test_more_processor_time_than_the_machine_has_leaves_none_idle() -> None:
    """Clocks of many processes never add up exactly."""
    made = effort(MACHINE, seconds=10, cpu_seconds=41)
    assert made.energy_wh == pytest.approx((41 * 3.5 + 10 * 16 * 0.392) / 3600)


def test_part_of_a_machine_takes_its_part_of_the_dollars_and_of_the_memory() -> None:
    made = effort(MACHINE, seconds=3600, cpu_seconds=0, share=0.25)
    assert made.energy_wh == pytest.approx((4 * 0.74 + 16 * 0.392) / 4)
    assert made.seconds == 3600
    assert made.usd == pytest.approx(0.09)


def test_nothing_takes_nothing() -> None:
    assert effort(MACHINE, seconds=0, cpu_seconds=0) == Effort(seconds=0, cpu_seconds=0, energy_wh=0, usd=0)


def test_meter_counts_from_its_making(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Meter(MACHINE, _wall=100.0, _cpu=5.0)
    for wall, cpu in ((130.0, 17.0), (160.0, 21.0)):
        monkeypatch.setattr(time, "monotonic", lambda wall=wall: wall)
        monkeypatch.setattr(time, "process_time", lambda cpu=cpu: cpu)
        assert meter.read() == effort(MACHINE, seconds=wall - 100, cpu_seconds=cpu - 5)


def test_meter_reads_the_clocks_of_this_process() -> None:
    meter = Meter(MACHINE)
    while time.process_time() - meter._cpu < 0.02:
        sum(range(1000))
    first, second = meter.read(), meter.read()
    assert 0.02 <= first.cpu_seconds <= second.cpu_seconds < 10
    assert 0 < first.seconds <= second.seconds < 10
