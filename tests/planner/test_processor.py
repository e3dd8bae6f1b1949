from __future__ import annotations

import pytest

from tradewind.planner.processor import processor_chip


def test_processors_are_one_chip_with_the_memory_of_the_machine() -> None:
    chip = processor_chip(8, 2**34)
    assert (chip.kind, chip.runtime, chip.memory_bytes) == ("cpu", "cpu", 2**34)


@pytest.mark.parametrize("vcpus", [0.5, 1.0, 96.0])
def test_speed_grows_with_processors(vcpus: float) -> None:
    one, several = processor_chip(1, None), processor_chip(vcpus, None)
    assert several.flops["fp32"] == vcpus * one.flops["fp32"]
    assert several.memory_bytes_per_s == vcpus * (one.memory_bytes_per_s or 0)


def test_processors_promise_no_format_that_they_have_no_instructions_for() -> None:
    chip = processor_chip(2, None)
    assert set(chip.flops) == chip.supports == {"fp32"}


def test_figures_say_where_they_are_from() -> None:
    assert "measured" in processor_chip(1, None).source
