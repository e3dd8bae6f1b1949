"""A process that is warm has nothing left to load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tradewind.training.driving import warm

PROGRAM = """
import sys
from pathlib import Path
from tradewind.training.driving.warm import HOOK, warm
assert HOOK == f"{warm.__module__}.{warm.__name__}"
warm()

import torch.distributed as dist
from tests.samples import dataset_spec, write_text
from tests.training.recovery.test_drills import job
from tradewind.datasets import Datasets
from tradewind.storage import open_store
from tradewind.training.worker import train

store = open_store(sys.argv[1])
Datasets(store).add(dataset_spec(write_text(Path(sys.argv[1]) / "text", documents=8, words=150)))
before = set(sys.modules)
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}/meeting", rank=0, world_size=1)
train(job(store, "r1"))
print(*sorted(set(sys.modules) - before))
"""


@pytest.mark.slow
def test_training_loads_next_to_nothing_more(tmp_path: Path) -> None:
    """Torch alone has some thousand modules, of which the first sharded model loads 200 that nobody had asked for."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    late = done.stdout.splitlines()[-1].split()
    assert len(late) < 10, late


def test_every_module_is_there() -> None:
    warm.warm()
