"""What was measured on a GPU, against predictions that were made before these figures were there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu_memory import CASES, compare

MEASURED = Path(__file__).parents[2] / "docs" / "benchmarks" / "data" / "h200_steps.jsonl"


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in MEASURED.read_text().splitlines()]


def test_memory_and_speed_of_real_steps_are_predicted(
    rows: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    compare(rows)
    targets = json.loads(capsys.readouterr().out.splitlines()[-1])["targets"]
    assert targets["memory_error"]["value"] <= 0.10
    assert targets["speed_error"]["value"] <= 0.15


def test_all_cases_were_measured(rows: list[dict[str, Any]]) -> None:
    assert [row["name"] for row in rows] == [case.name for case in CASES]
    assert all(row["allocated_bytes"] <= row["reserved_bytes"] for row in rows)
