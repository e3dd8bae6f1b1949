"""A trial as a training run: begun, resumed and ended like any other, so all that reads runs reads trials."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tradewind.errors import ConflictError, NotFoundError, RunError
from tradewind.families import shape_of
from tradewind.ledger import this_team
from tradewind.records import CheckpointRecord
from tradewind.specs import TuneSpec
from tradewind.storage import Store
from tradewind.training import trainer
from tradewind.training.checkpoint import remove_orphans
from tradewind.training.data import newest_versions, open_data
from tradewind.training.job import Job
from tradewind.training.run import Run, take_up


@dataclass
class Trials:
    """Begins and ends the runs of a sweep, all on the versions of data that the sweep began with."""

    store: Store
    spec: TuneSpec
    datasets: Mapping[str, float]
    share: float = 1.0
    """The part of a machine that one worker of a trial holds."""
    _searches_data: bool = field(init=False)

    def __post_init__(self) -> None:
        self._searches_data = not {"dataset", "mix"}.isdisjoint(self.spec.space)

    def begin(self, number: int, values: Mapping[str, Any], *, parent: str | None = None) -> Job:
        """Write the first record of a trial's run; with `parent`, a run, it begins with that one's newest checkpoint.

        Raises SpecError for values that do not go together, QuotaError when a budget has no room.
        """
        spec = self.spec.train_with(values, name=f"{self.spec.name[:50]}-{number:03d}")
        versions = newest_versions(self.store, spec) if self._searches_data else self.datasets
        data = open_data(self.store, spec, versions)
        vocabulary = data.datasets[0].tokenizer_file.vocabulary
        shape = shape_of(spec.model, vocabulary=vocabulary, context=spec.batch.tokens_per_sequence)
        trainer.check_layout(spec, shape)
        trainer.check_vocabulary(spec, shape, vocabulary)
        name, datasets = trainer.begin(self.store, spec, data, shape, None, share=self.share)
        if parent:
            inherit(Run(self.store, parent), Run(self.store, name))
        return Job(run=name, spec=spec, shape=shape, datasets=datasets, store=self.store, team=this_team())

    def resume(self, run: str) -> Job | None:
        """Let this process drive a trial's run again; None for one that is finished already."""
        found = Run(self.store, run)
        end = found.end
        if end and end.status == "finished":
            return None
        take_up(found, anyway=True)
        return trainer.job_of(found)

    def finish(self, job: Job, *, failure: str = "") -> None:
        """Write down how a trial's run ended, whose worker has returned or is gone."""
        run = Run(self.store, job.run)
        remove_orphans(run.files, quiet_s=0)  # nobody writes any more
        if failure:
            run.finish("failed", error=RunError(failure))
        else:
            trainer.finish(run, job, open_data(job.store, job.spec, job.datasets))

    def interrupt(self, job: Job, why: str) -> None:
        """Write down that a run has stopped and may go on later."""
        Run(self.store, job.run).finish("stopped", message=why)


def inherit(parent: Run, child: Run) -> CheckpointRecord | None:
    """Copy the newest whole checkpoint of a run into another that has none; None where there is none."""
    for record in reversed(parent.checkpoints):
        try:
            return _copied(record, parent, child)
        except NotFoundError:
            continue  # it was pruned meanwhile
    return None


def _copied(record: CheckpointRecord, parent: Run, child: Run) -> CheckpointRecord:
    store, old, new = child.files.store, parent.files.key(""), child.files.key("")
    files = []
    for file in record.files:
        key = new + file.key.removeprefix(old)
        store.put(key, store.get(file.key))
        files.append(file.model_copy(update={"key": key}))
    copy = record.model_copy(
        update={"run": child.name, "files": tuple(files), "parents": (f"run:{child.name}", record.id)}
    )
    with contextlib.suppress(ConflictError):
        store.create(child.files.key(f"checkpoints/{record.step:09d}.json"), copy.to_json())
    return copy
