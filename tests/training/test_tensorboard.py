"""Metrics as TensorBoard's event files."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from tests.records.test_records import EXAMPLES
from tradewind.records import RunStart, StepMetrics
from tradewind.storage import open_store
from tradewind.training.run import Run, RunFiles
from tradewind.training.tensorboard import write_events


@pytest.fixture
def run(tmp_path: Path) -> Run:
    start = next(record for record, _ in EXAMPLES if isinstance(record, RunStart))
    files = RunFiles(open_store(str(tmp_path / "store")), start.run)
    files.store.create(files.key("run.json"), start.to_json())
    rows = [
        StepMetrics(
            attempt="a",
            step=step,
            tokens=step * 64,
            seconds=step * 2.0,
            loss=4.0 - step,
            learning_rate=0.1,
            grad_norm=1.0,
            tokens_per_s=100.0,
            cpu_seconds=1.0,
            heldout_loss=3.5 if step == 2 else None,
        )
        for step in (1, 2)
    ]
    files.store.put(files.key("metrics/1.jsonl"), "\n".join(row.model_dump_json() for row in rows).encode())
    return Run(files.store, start.run)


def events(folder: Path) -> list[Event]:
    """Records are length, its checksum, data, its checksum: TensorFlow's record format."""
    data, found = next(folder.glob("events.*")).read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return found


def test_curves_are_those_of_the_records(run: Run, tmp_path: Path) -> None:
    assert write_events(run, tmp_path / "board") == 2
    scalars = {
        (value.tag, event.step): (value.simple_value, event.wall_time)
        for event in events(tmp_path / "board" / run.name)
        for value in event.summary.value
    }
    began = run.record.created_at.timestamp()
    assert scalars["loss/train", 1] == (3.0, pytest.approx(began + 2.0))
    assert scalars["loss/heldout", 2] == (3.5, pytest.approx(began + 4.0))
    assert ("loss/heldout", 1) not in scalars
    assert ("speed/mfu", 1) not in scalars
