"""A workspace with a small dataset, and sweeps of toy trials in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.samples import dataset_spec, write_text
from tests.tuning.sea import LOG, SLEEP
from tests.tuning.wishes import TOY, toy_spec
from tradewind.clusters import notices
from tradewind.tuning import Sweep, Tuning, Work
from tradewind.workspace import Workspace


@dataclass
class Yard:
    """Where toy sweeps run. `steps` says which trial made which step, each time, in which process."""

    workspace: Workspace
    log: Path

    def tuning(self, work: Work = TOY) -> Tuning:
        return Tuning(
            self.workspace.store, self.workspace.machine, lambda count: self.workspace._ray(workers=count), work=work
        )

    def start(self, *, work: Work = TOY, **changes: Any) -> Sweep:
        return self.tuning(work).start(toy_spec(**changes))

    def steps(self) -> list[tuple[str, int, int]]:
        lines = [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return [(trial, int(step), int(pid)) for trial, step, _, pid in lines]

    def again(self) -> int:
        """Steps that were made more than once."""
        return sum(count - 1 for count in Counter(step[:2] for step in self.steps()).values())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    folder = tmp_path_factory.mktemp("yard")
    log = folder / "steps.log"
    with pytest.MonkeyPatch.context() as patch, Workspace(str(folder / "workspace")) as workspace:
        patch.setenv(LOG, str(log))  # Ray's processes have the environment that it started with
        patch.setenv(SLEEP, "0.1")
        patch.setenv(notices.RUN, str(folder / "run"))
        workspace.datasets.add(dataset_spec(write_text(folder / "text")), on="local")
        yield Yard(workspace, log)


@pytest.fixture
def yard(made: Yard) -> Yard:
    made.log.unlink(missing_ok=True)
    return made
