"""Endpoints on a Ray of several nodes of two markets. It has a process of its own: see `two_markets.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.serving.two_markets import AFTER, BEFORE, CLIENTS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def happened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.serving.two_markets", str(tmp_path_factory.mktemp("workspace"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_stages_lie_on_two_nodes_and_the_replica_answers(happened: dict[str, Any]) -> None:
    assert happened["stages"] == {"nodes": 2, "status": 200}


def test_model_is_brought_to_each_node_that_may_hold_a_replica(happened: dict[str, Any]) -> None:
    assert happened["fetched"] == 2  # the head has no processors


def test_what_no_node_can_hold_is_refused_at_once(happened: dict[str, Any]) -> None:
    refused = happened["refused"]
    assert "needs 2 accelerators, and all machines together have 1" in refused["two stages and one chip"]
    assert "2 accelerators in one machine, and the largest has 1 (divide" in refused["two in one machine"]
    assert "on spot machines, and this Ray has none (start nodes with --labels" in refused["no spot"]
    assert "needs 1 H200 accelerator, and this Ray has some of no name" in refused["another chip"]


def test_base_stays_and_the_burst_comes_back_with_a_new_spot_machine(happened: dict[str, Any]) -> None:
    both = {"Base": "stays", "Replica": "spot"}
    assert (happened["placed"], happened["alone"], happened["back"]) == (both, {"Base": "stays"}, both)


def test_serve_tells_that_the_burst_is_missing(happened: dict[str, Any]) -> None:
    status, replicas = happened["status"]
    assert status != "HEALTHY"
    assert "RUNNING" not in replicas


def test_only_streams_that_had_begun_are_lost_with_a_spot_machine(happened: dict[str, Any]) -> None:
    assert happened["failed"] == []
    assert happened["answers"] > BEFORE + AFTER
    assert happened["cut"] <= CLIENTS
