"""Runs and caches whose processes are killed with `kill -9` at random moments, again and again."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.datasets.crew import open_batches
from tests.datasets.logbook import dataset
from tradewind.datasets.reading.batches import Batches
from tradewind.datasets.reading.certificate import Certificate, digests
from tradewind.storage import open_store

pytestmark = pytest.mark.slow

SIZES = [151, 90, 233, 64, 178, 120, 7, 201, 99, 160, 143, 88]
SEQUENCES = 12
LIVES = 8
LIMIT_S = 60.0


@dataclass
class Voyage:
    """A run of some processes on one node, which share a cache and are killed and started again by the test."""

    folder: Path
    store: str
    record: str
    made: Batches
    order: dict[str, int]
    dice: random.Random
    state: bytes
    kept: list[dict[str, Any]] = field(default_factory=list)
    """One line of each reader for each step that is behind a checkpoint."""

    def live(self, *, life: int, is_last: bool) -> None:
        """Start from the state, with some readers; be killed in the middle, or reach the end."""
        certificate = Certificate.from_bytes(self.state, self.made)
        world, workers = self.dice.choice([(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)])
        logs = [self.folder / f"{life}-{number}" for number in range(world * workers)]
        max_bytes = self.dice.choice([10**9, 1500])
        crew = [
            self._start(
                log,
                max_bytes=max_bytes,
                pause_s=0.0 if is_last else 0.01,
                who={
                    "rank": number // workers,
                    "world": world,
                    "worker": number % workers,
                    "workers": workers,
                    "start": certificate.samples,
                },
            )
            for number, log in enumerate(logs)
        ]
        try:
            if is_last:
                assert [process.wait(LIMIT_S) for process in crew] == [0] * len(crew)
            else:
                self._wait_for_some(logs, crew, lines=self.dice.randint(1, 12))
        finally:
            for process in crew:
                process.kill()
            for process in crew:
                process.wait()
        self._keep(certificate, [_lines(log) for log in logs], world, workers, is_last=is_last)

    def _start(self, log: Path, **how: Any) -> subprocess.Popen[bytes]:
        told = {
            "store": self.store,
            "record": self.record,
            "order": self.order,
            "cache": str(self.folder / "cache"),
            "log": str(log),
            **how,
        }
        with (self.folder / "said").open("ab") as said:
            return subprocess.Popen([sys.executable, "-m", "tests.datasets.crew", json.dumps(told)], stderr=said)

    def _wait_for_some(self, logs: list[Path], crew: list[subprocess.Popen[bytes]], *, lines: int) -> None:
        end = time.monotonic() + LIMIT_S
        while min(len(_lines(log)) for log in logs) < lines and any(process.poll() is None for process in crew):
            assert time.monotonic() < end, (self.folder / "said").read_text()
            time.sleep(0.01)

    def _keep(
        self,
        certificate: Certificate,
        lines: list[list[dict[str, Any]]],
        world: int,
        workers: int,
        *,
        is_last: bool,
    ) -> None:
        """Checkpoint at some step that all readers have reached, or at the last."""
        by_step: dict[int, list[dict[str, Any]]] = {}
        for line in (line for of_log in lines for line in of_log if line["step"] >= 0):
            by_step.setdefault(line["step"], []).append(line)
        first = certificate.samples // SEQUENCES
        done = first
        while len(by_step.get(done, [])) == world:
            done += 1
        until = done if is_last else self.dice.randint(first, done)
        for step in range(first, until):
            parts = by_step[step]
            certificate.add(
                parts[0]["rows"], np.sum([np.array(part["digest"], dtype=np.uint64) for part in parts], axis=0)
            )
            self.kept += parts
        self.state = certificate.to_bytes()


def _lines(log: Path) -> list[dict[str, Any]]:
    """What was written whole."""
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]


def undisturbed(made: Batches, epochs: int) -> Certificate:
    certificate, end = Certificate.start(made), epochs * made.size
    for step in range(-(-end // SEQUENCES)):
        length = min(SEQUENCES, end - step * SEQUENCES)
        certificate.add(length, digests(made.draws(range(step, step + 1), length=length))[0])
    return certificate


@pytest.mark.parametrize("lanes", [1, 3])
def test_run_whose_processes_are_killed_and_resized_has_read_everything_exactly_once(
    moto_s3: str, tmp_path: Path, lanes: int
) -> None:
    store, order = f"{moto_s3}/{uuid.uuid4().hex}", {"sequences": SEQUENCES, "lanes": lanes}
    record = dataset(SIZES, store=open_store(store)).record.model_dump_json()
    made = open_batches(store, record, **order)
    voyage = Voyage(tmp_path, store, record, made, order, random.Random(lanes), Certificate.start(made).to_bytes())
    for life in range(LIVES):
        voyage.live(life=life, is_last=False)
    assert 0 < Certificate.from_bytes(voyage.state, made).samples < 2 * made.size
    voyage.live(life=LIVES, is_last=True)
    assert all(line["right"] for line in voyage.kept)
    assert Certificate.from_bytes(voyage.state, made) == undisturbed(made, 2)
    counts = np.bincount([sample for line in voyage.kept for sample in line["samples"]], minlength=made.size)
    assert (counts == 2).all()


def test_cache_whose_users_are_killed_a_hundred_times_stays_whole(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.storage.origins", "killed", str(tmp_path), "100", "limit_s=50"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ended"] == {"-9": 8 * found["rounds"], "0": found["rounds"]}, done.stderr
    assert found["rounds"] == 100
    assert found["wrong"] == []
    assert found["left"] == []
    assert found["slowest_s"] < 10
