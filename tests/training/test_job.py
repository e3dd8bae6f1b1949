"""What every rank is given, and what follows from it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tradewind.training.job import passes_needed


@pytest.mark.parametrize(
    ("sequences", "readers", "at_once", "passes"),
    [(16, 2, None, 1), (16, 2, 8, 1), (16, 2, 3, 3), (5, 2, 1, 3), (7, 7, 4, 1)],
)
def test_passes_are_as_many_as_the_fullest_worker_needs(
    sequences: int, readers: int, at_once: int | None, passes: int
) -> None:
    assert passes_needed(sequences=sequences, readers=readers, at_once=at_once) == passes


def test_what_begins_a_run_loads_neither_torch_nor_ray() -> None:
    code = "import sys, tradewind.training.trainer as _; print({'torch', 'ray', 'pyarrow'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "set()\n"
