"""What a run has read, proven from its records: every sample exactly once an epoch, through kills and resizes.

Each checkpoint holds the certificate of what the workers had read until then. Here the order is computed anew, from
the dataset's record and the spec alone, and so is the chain; a sample that was left out, read twice or out of its turn
would have made another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradewind import progress
from tradewind.datasets import Batches, Certificate, Draws
from tradewind.datasets.reading.certificate import digests
from tradewind.errors import IntegrityError, NotFoundError
from tradewind.records import CheckpointRecord, Fact
from tradewind.specs import TrainSpec
from tradewind.training.data import open_data
from tradewind.training.run import Run
from tradewind.units import format_count

STEPS_AT_ONCE = 64


class Coverage(Fact):
    """How often the samples of one dataset were read: in `epochs` whole epochs all of them, and some of the next."""

    dataset: str
    samples: int
    epochs: int
    begun: int
    """Samples read of the epoch after those."""


class Proof(Fact):
    run: str
    checkpoints: int
    samples: int
    restarts: int
    certificate: str
    coverage: tuple[Coverage, ...]


def prove(run: Run) -> Proof:
    """Compute again what a run has read and compare it with its checkpoints.

    Raises IntegrityError where they differ, NotFoundError for a run without checkpoints or from before there were
    certificates.
    """
    checkpoints = [checkpoint for checkpoint in run.checkpoints if checkpoint.certificate]
    if not checkpoints:
        raise NotFoundError(f"run {run.name} has no checkpoint with a certificate", hint="runs get the first one early")
    start = run.record
    spec = TrainSpec.of(**start.spec)
    batches = open_data(run.files.store, spec, start.datasets).batches
    seen = [_Seen.of(source.dataset.reference, source.size) for source in batches.sources]
    certificate = Certificate.start(batches)
    with progress.track(f"verify {run.name}", total=checkpoints[-1].step) as bar:
        for checkpoint in checkpoints:
            first = certificate.samples // batches.sequences
            for draws in _draws(batches, range(first, checkpoint.step)):
                for number, one in enumerate(seen):
                    one.add(draws.sample[draws.source == number])
                for digest in digests(draws):
                    certificate.add(batches.sequences, digest)
                bar.advance(len(draws.position), note=f"{format_count(certificate.samples)} samples")
            _compare(checkpoint, certificate)
    return Proof(
        run=run.name,
        checkpoints=len(checkpoints),
        samples=certificate.samples,
        restarts=run.restarts(),
        certificate=certificate.chain.hex(),
        coverage=tuple(one.coverage() for one in seen),
    )


def _draws(batches: Batches, steps: range) -> Iterator[Draws]:
    for first in range(steps.start, steps.stop, STEPS_AT_ONCE):
        yield batches.draws(range(first, min(first + STEPS_AT_ONCE, steps.stop)))


def _compare(checkpoint: CheckpointRecord, certificate: Certificate) -> None:
    if bytes.fromhex(checkpoint.certificate) != certificate.to_bytes():
        raise IntegrityError(
            f"{checkpoint.id}: what the workers have read is not what the order says",
            hint="samples were lost, repeated or read from other data; use an earlier checkpoint",
        )


@dataclass
class _Seen:
    """Counts the readings of each sample, without trusting the order that is being proven."""

    dataset: str
    times: NDArray[np.uint16]

    @classmethod
    def of(cls, dataset: str, samples: int) -> _Seen:
        return cls(dataset, np.zeros(samples, dtype=np.uint16))

    def add(self, samples: NDArray[np.int64]) -> None:
        np.add.at(self.times, samples, 1)

    def coverage(self) -> Coverage:
        """Raises IntegrityError when one sample was read two times more often than another."""
        least, most = int(self.times.min()), int(self.times.max())
        if most - least > 1:
            raise IntegrityError(f"{self.dataset}: a sample was read {most} times and another {least} times")
        begun = int((self.times > least).sum())
        return Coverage(dataset=self.dataset, samples=len(self.times), epochs=least, begun=begun)
