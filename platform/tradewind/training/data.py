"""The data of a run: its datasets in the versions that it began with, their batches, and what is held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tradewind.datasets import Batches, Dataset, Datasets, Samples
from tradewind.errors import SpecError
from tradewind.specs import TrainSpec
from tradewind.storage import Store, fetch_content

CHECKED_AT_START_BYTES = 256 * 1024**2
"""Datasets up to this size are read and verified before a run begins: a tenth of a second tells what is damaged."""


@dataclass(frozen=True)
class TrainingData:
    """`batches` has one source for each dataset, and so has `heldout`, in which nothing is shuffled."""

    datasets: tuple[Dataset, ...]
    batches: Batches
    heldout: tuple[Samples, ...]

    @property
    def conversations(self) -> bool:
        """Whether some tokens say by marks that they are not trained on."""
        return any(dataset.record.chat for dataset in self.datasets)

    @property
    def end_of_text(self) -> int:
        """The token that ends a document."""
        number = self.datasets[0].tokenizer().token_to_id(self.datasets[0].tokenizer_file.end_of_text)
        assert number is not None
        return int(number)


def newest_versions(store: Store, spec: TrainSpec) -> dict[str, float]:
    """The datasets that a spec means now, as `name@version`, with their weights. Raises NotFoundError."""
    wanted = {spec.dataset: 1.0, **spec.mix}
    found = {Datasets(store).get(reference).reference: weight for reference, weight in wanted.items()}
    if len(found) < 1 + len(spec.mix):
        raise SpecError(
            f"two of {', '.join([spec.dataset, *spec.mix])} are the same version", hint="name each version once"
        )
    return found


def open_data(store: Store, spec: TrainSpec, versions: Mapping[str, float]) -> TrainingData:
    """What a run reads. Raises NotFoundError, IntegrityError, and SpecError for datasets that do not go together."""
    datasets = tuple(Datasets(store).get(reference) for reference in versions)
    width = spec.batch.tokens_per_sequence + 1
    batches = Batches(
        [Samples(dataset, "train", width=width) for dataset in datasets],
        sequences=spec.batch.sequences,
        seed=spec.seed,
        weights=list(versions.values()),
        window=spec.order.window,
        lanes=spec.order.lanes,
    )
    return TrainingData(datasets, batches, tuple(Samples(dataset, "heldout", width=width) for dataset in datasets))


def check_small(data: TrainingData) -> None:
    """Verify every shard of small datasets; large ones are verified as they are read. Raises IntegrityError."""
    for samples in (*data.batches.sources, *data.heldout):
        if samples.table.num_bytes.sum() <= CHECKED_AT_START_BYTES:
            for shard in samples.table:
                fetch_content(samples.dataset.origin, shard, what=f"dataset {samples.dataset.reference}")
