"""How a spec becomes a question: sizes of the model, of the data and of the load, and where the data is."""

from __future__ import annotations

import json

from tradewind.datasets import Dataset, Datasets
from tradewind.errors import NotFoundError, SpecError
from tradewind.families import ModelShape, from_hugging_face, known_model, known_models, shape_of
from tradewind.planner.work import ServingWork, TrainingWork
from tradewind.records import Place
from tradewind.registry import Models
from tradewind.specs import ServeSpec, TrainSpec
from tradewind.specs.reference import Reference
from tradewind.specs.serve import is_place
from tradewind.storage import Store, open_store
from tradewind.storage.transfer.place import place_of

SMALL_VOCABULARY = 2**16
"""Up to this size a token id takes two bytes, above four."""


def training_work(store: Store, spec: TrainSpec, *, data_at: Place | None = None) -> TrainingWork:
    """What a spec asks to be trained. A dataset that the workspace does not have yet is as long as what is read of it.

    Raises SpecError for a model whose vocabulary nobody has said.
    """
    dataset = _dataset(store, spec.dataset)
    vocabulary = dataset.tokenizer_file.vocabulary if dataset else None
    shape = shape_of(spec.model, vocabulary=vocabulary, context=spec.batch.tokens_per_sequence)
    tokens = spec.max_steps * spec.batch.sequences * spec.batch.tokens_per_sequence
    return TrainingWork(
        shape=shape,
        steps=spec.max_steps,
        longest_s=spec.max_time_s,
        sequences=spec.batch.sequences,
        tokens_per_sequence=spec.batch.tokens_per_sequence,
        dataset_bytes=_num_bytes(dataset) if dataset else tokens * (2 if shape.vocabulary <= SMALL_VOCABULARY else 4),
        dataset_place=data_at or place_of(store),
        checkpoint_every_s=spec.checkpoint_every_s,
    )


def serving_work(store: Store, spec: ServeSpec) -> ServingWork:
    """What a spec asks to be served: a registered model, a folder, or a public one by name. Raises NotFoundError."""
    traffic = spec.traffic
    return ServingWork(
        shape=_served_shape(store, spec.model),
        requests_per_s=traffic.requests_per_s,
        peak_factor=traffic.peak_factor,
        tokens_in=traffic.tokens_in,
        tokens_out=traffic.tokens_out,
        hours=traffic.time_s / 3600,
        ttft_s=traffic.ttft_s,
        itl_s=traffic.itl_s,
        weights=traffic.weights,
        cache=traffic.cache,
    )


def _served_shape(store: Store, reference: str) -> ModelShape:
    if is_place(reference):
        return from_hugging_face(json.loads(open_store(reference).get("config.json")))
    try:
        record = Models(store).get(reference).record
    except NotFoundError:
        if reference not in known_models():
            raise
        return known_model(reference)
    file = record.files.get("config.json")
    if file is None:
        raise SpecError(f"model {reference} has no config.json", hint="register it again")
    return from_hugging_face(json.loads(store.get(file.key)))


def _dataset(store: Store, reference: str) -> Dataset | None:
    """None where the workspace has no dataset of that name. Raises NotFoundError for a version that it lacks."""
    datasets = Datasets(store)
    return datasets.get(reference) if Reference.parse(reference).name in datasets.names() else None


def _num_bytes(dataset: Dataset) -> int:
    return dataset.split("train").tokens * dataset.dtype.itemsize
