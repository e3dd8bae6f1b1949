"""What every rank of a run is given, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tradewind.families import ModelShape
from tradewind.specs import TrainSpec
from tradewind.storage import Store
from tradewind.training.batch import Passes, passes_needed
from tradewind.training.data import TrainingData
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
    batch, wish = job.spec.batch, job.spec.parallel
    axes = wish.model_dump(exclude={"zero", "schedule"})
    layout = Layout.of(
        world,
        shape=job.shape,
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
        shape=job.shape,
        tokens_per_sequence=batch.tokens_per_sequence,
        sequences=batch.sequences,
        microbatches=passes_needed(sequences=each, readers=1, at_once=batch.sequences_per_pass or 1),
        zero=wish.zero,
        schedule=wish.schedule,
        **axes,
    )


def passes_of(job: Job, data: TrainingData, layout: Layout, device: torch.device) -> Passes:
    """How each rank cuts its rows. A pipeline cuts them itself, into parts of one size."""
    batch = job.spec.batch
    return Passes(
        device,
        count=1
        if layout.pipeline > 1
        else passes_needed(sequences=batch.sequences, readers=layout.data_world, at_once=batch.sequences_per_pass),
        rows=-(-batch.sequences // layout.data_world) if layout.pipeline > 1 else None,
        end_of_text=data.end_of_text if separates(job, data) else None,
        conversations=data.conversations,
    )


def separates(job: Job, data: TrainingData) -> bool:
    """Whether a token sees its own document alone."""
    wish = job.spec.batch.separate_documents
    return data.conversations if wish is None else wish
