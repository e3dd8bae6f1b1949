from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from tradewind.clusters import machine as module
from tradewind.clusters import memory_free, this_machine
from tradewind.clusters.machine import PRICE, memory_limit, usable_cpus
from tradewind.errors import SpecError


def test_machine_is_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PRICE, raising=False)
    machine = this_machine()
    assert machine.host
    assert machine.processor
    assert machine.num_cpus == len(os.sched_getaffinity(0)) == usable_cpus()
    assert 2**28 < machine.memory_bytes <= psutil.virtual_memory().total
    assert machine.usd_per_hour == 0
    assert 0 < memory_free() <= memory_limit()


@pytest.mark.parametrize(("text", "price"), [("0.35", 0.35), ("0", 0.0), ("1e1", 10.0), (" 2 ", 2.0)])
def test_price_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, price: float) -> None:
    monkeypatch.setenv(PRICE, text)
    assert this_machine().usd_per_hour == price


@pytest.mark.parametrize("text", ["cheap", "", "-1", "nan", "inf", "$3", "0,35"])
def test_price_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(PRICE, text)
    with pytest.raises(SpecError, match=f"{PRICE} is ") as caught:
        this_machine()
    assert repr(text) in caught.value.message
    assert caught.value.hint is not None


GIB = 2**30


class TestContainer:
    """A container's limits, as control groups of version 2 and 1 state them."""

    @pytest.fixture
    def groups(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        class Memory:
            total, available = 16 * GIB, 12 * GIB

        monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory)
        monkeypatch.setattr(module, "CONTROL_GROUP", tmp_path)
        return tmp_path

    def put(self, groups: Path, name: str, content: object) -> None:
        path = groups / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")

    def test_without_a_limit_it_is_the_machines_memory(self, groups: Path) -> None:
        assert (memory_limit(), memory_free()) == (16 * GIB, 12 * GIB)
        self.put(groups, "memory.max", "max")
        self.put(groups, "memory.current", 3 * GIB)
        assert (memory_limit(), memory_free()) == (16 * GIB, 12 * GIB)

    @pytest.mark.parametrize(
        ("limit", "used"),
        [
            ("memory.max", "memory.current"),
            ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
        ],
    )
    def test_limit_of_the_container_counts_where_it_is_less(self, groups: Path, limit: str, used: str) -> None:
        self.put(groups, limit, 4 * GIB)
        self.put(groups, used, 1 * GIB)
        assert (memory_limit(), memory_free()) == (4 * GIB, 3 * GIB)
        self.put(groups, limit, 64 * GIB)
        assert (memory_limit(), memory_free()) == (16 * GIB, 12 * GIB)

    def test_no_limit_of_version_1_is_a_huge_number(self, groups: Path) -> None:
        self.put(groups, "memory/memory.limit_in_bytes", 9223372036854771712)
        self.put(groups, "memory/memory.usage_in_bytes", 3 * GIB)
        assert (memory_limit(), memory_free()) == (16 * GIB, 12 * GIB)

    def test_container_over_its_limit_has_nothing_free(self, groups: Path) -> None:
        self.put(groups, "memory.max", 4 * GIB)
        self.put(groups, "memory.current", 5 * GIB)
        assert memory_free() == 0

    @pytest.mark.parametrize(
        ("folder", "limit", "used", "field"),
        [
            ("", "memory.max", "memory.current", "inactive_file"),
            ("memory/", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ],
    )
    def test_cached_files_that_can_be_dropped_count_as_free(
        self, groups: Path, folder: str, limit: str, used: str, field: str
    ) -> None:
        """Reading a dataset fills the page cache, which the kernel counts as used and gives back when it is wanted."""
        self.put(groups, f"{folder}{limit}", 4 * GIB)
        self.put(groups, f"{folder}{used}", 4 * GIB)
        self.put(groups, f"{folder}memory.stat", f"anon {GIB}\nfile {3 * GIB}\n{field} {2 * GIB}\nactive_file {GIB}")
        assert memory_free() == 2 * GIB
