"""A sweep on several nodes, which come and go."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tuning.toy import CHECKPOINT_EVERY

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_node_that_is_lost_costs_one_interval_and_one_that_is_drained_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.tuning.nodes_run", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["trials"] == [["finished", 0]] * 4
    assert found["noticed"] == [False, True]
    assert found["again"] <= CHECKPOINT_EVERY
