"""What every rank of a run is given, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from tradewind.families import ModelShape
from tradewind.specs import TrainSpec
from tradewind.storage import Store
from tradewind.training.parallel.layout import Layout


@dataclass(frozen=True)
class Job:
    run: str
    spec: TrainSpec
    shape: ModelShape
    datasets: dict[str, float]
    """Versions with their weights."""
    store: Store
    team: str = ""


def layout_of(job: Job, world: int) -> Layout:
    """How a run's model is divided among `world` ranks. Raises SpecError for axes that do not divide."""
    return layout_for(job.spec, job.shape, world)


def layout_for(spec: TrainSpec, shape: ModelShape, world: int) -> Layout:
    """The same of a run that has not begun."""
    batch, wish = spec.batch, spec.parallel
    axes = wish.model_dump(exclude={"zero", "schedule"})
    layout = Layout.of(
        world,
        shape=shape,
        tokens_per_sequence=batch.tokens_per_sequence,
        zero=wish.zero,
        schedule=wish.schedule,
        **axes,
    )
    if wish.pipeline == 1:
        return layout
    each = -(-batch.sequences // layout.data_world)
    return Layout.of(
        world,
        shape=shape,
        tokens_per_sequence=batch.tokens_per_sequence,
        sequences=batch.sequences,
        microbatches=passes_needed(sequences=each, readers=1, at_once=batch.sequences_per_pass or 1),
        zero=wish.zero,
        schedule=wish.schedule,
        **axes,
    )


def passes_needed(*, sequences: int, readers: int, at_once: int | None) -> int:
    """How many passes a step takes, for the worker with the most rows of a batch."""
    most = -(-sequences // readers)
    return -(-most // (at_once or most))
