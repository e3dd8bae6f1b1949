"""A run's metrics as TensorBoard's event files, made from its records: of any run, at any time, on any machine.

Training writes records alone, so it needs no disk for this and no second writer; who wants the curves makes them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tradewind.records import StepMetrics
from tradewind.training.run import MetricsReader, Run

CURVES = {
    "loss/train": "loss",
    "loss/heldout": "heldout_loss",
    "optimizer/learning_rate": "learning_rate",
    "optimizer/grad_norm": "grad_norm",
    "speed/tokens_per_s": "tokens_per_s",
    "speed/mfu": "mfu",
    "time/waiting_for_data_s": "data_seconds",
    "time/communication_s": "communication_seconds",
    "time/checkpoint_s": "stopped_seconds",
    "memory/bytes": "memory_bytes",
}
"""Name of a curve → the field of `StepMetrics` that it shows."""
LOOK_EVERY_S = 2.0


def write_events(run: Run, folder: Path, *, follow: bool = False) -> int:
    """Write the curves of a run into `folder`/<run>; with `follow` until it has ended. Gives the number of steps.

    TensorBoard's time axis is training time, counted from when the run began.
    """
    from tensorboardX import SummaryWriter

    reader, steps = MetricsReader(run.files), 0
    began = run.record.created_at.timestamp()
    with SummaryWriter(str(folder / run.name)) as writer:
        while True:
            goes_on = follow and run.status == "running"
            steps += _write(writer, reader.new(), began)
            writer.flush()
            if not goes_on:
                return steps
            time.sleep(LOOK_EVERY_S)


def _write(writer: Any, rows: Iterable[StepMetrics], began: float) -> int:
    count = 0
    for row in rows:
        for name, field in CURVES.items():
            if (value := getattr(row, field)) is not None:
                writer.add_scalar(name, value, row.step, walltime=began + row.seconds)
        count += 1
    return count
