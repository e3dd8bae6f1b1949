"""What toy sweeps ask for."""

from __future__ import annotations

from typing import Any

from tradewind.specs import TuneSpec
from tradewind.tuning.work import Work

TOY = Work("tests.tuning.toy:train", modules=("tests.tuning.toy",), groups=False)
NAN = Work("tests.tuning.toy:nan", modules=("tests.tuning.toy",), groups=False)
SUICIDE = Work("tests.tuning.toy:suicide", modules=("tests.tuning.toy",), groups=False)
CRASH = Work("tests.tuning.toy:crash", modules=("tests.tuning.toy",), groups=False)


def toy_spec(*, max_steps: int = 20, scheduler: str | dict[str, Any] = "none", **changes: Any) -> TuneSpec:
    return TuneSpec.of(
        **{
            "name": "toy",
            "train": {
                "name": "toy", "dataset": "logbook", "workers": 1, "max_steps": max_steps,
                "model": {"hidden": 32, "layers": 1, "heads": 2},
                "batch": {"sequences": 4, "tokens_per_sequence": 32},
            },
            "space": {
                "optimizer.learning_rate": {"log_uniform": [1e-5, 1e-1]},
                "optimizer.weight_decay": {"uniform": [0, 1]},
            },
            "scheduler": {"kind": scheduler, "grace_steps": 5} if isinstance(scheduler, str) else scheduler,
            "seed": 7,
            **changes,
        }
    )  # fmt: skip
