"""Training without Ray, started as people start it: by torchrun."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.samples import dataset_spec, write_text
from tradewind.datasets import Datasets
from tradewind.storage import Store, open_store
from tradewind.training.proof import prove
from tradewind.training.run import Run, names

ROOT = Path(__file__).parents[2]
SPEC = """\
kind: train
name: pilot
dataset: logbook
model: {hidden: 32, layers: 1, heads: 2}
batch: {sequences: 4, tokens_per_sequence: 16}
max_steps: 4
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("torchrun")
    store = open_store(str(folder / "store"))
    Datasets(store).add(dataset_spec(write_text(folder / "text", documents=12, words=60)))
    return store


def torchrun(store: Store, *words: str) -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*start, "-m", "tradewind.training", *words, "--workspace", store.url.removeprefix("file://")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=150,
    )


def test_run_is_trained_recorded_and_proven(store: Store, tmp_path: Path) -> None:
    (tmp_path / "pilot.yaml").write_text(SPEC)
    done = torchrun(store, str(tmp_path / "pilot.yaml"))
    assert done.returncode == 0, done.stderr[-3000:]
    run = Run(store, names(store)[-1])
    assert run.end is not None
    assert (run.end.status, run.end.steps) == ("finished", 4)
    assert prove(run).samples == 16
    assert "ranks speak over lo" in done.stderr
    again = torchrun(store, "--resume", run.name)
    assert f"run {run.name} is finished" in again.stderr
    assert "hint: train a new one" in again.stderr


def test_mistake_in_a_spec_is_said_once_and_makes_no_run(store: Store, tmp_path: Path) -> None:
    before = names(store)
    (tmp_path / "wrong.yaml").write_text(SPEC + "optimzer: {}\n")
    done = torchrun(store, str(tmp_path / "wrong.yaml"))
    assert done.returncode != 0
    assert done.stderr.count("unknown key 'optimzer'") == 1
    assert names(store) == before


def test_rank_that_fails_writes_down_why_and_says_what_to_do(store: Store, tmp_path: Path) -> None:
    wild = SPEC + "optimizer: {learning_rate: 1e30, warmup_steps: 0}\n"
    (tmp_path / "wild.yaml").write_text(wild.replace("max_steps: 4", "max_steps: 40"))
    done = torchrun(store, str(tmp_path / "wild.yaml"))
    run = Run(store, names(store)[-1])
    assert done.returncode != 0
    assert "hint: try a lower learning_rate" in done.stderr
    assert run.end is not None
    assert (run.end.status, run.end.hint) == ("failed", "try a lower learning_rate")
    assert "there is no checkpoint to go back to" in next(iter(run.end.failures.values()))
