"""Immutable dataset versions on any object store, read in one shuffled order by any number of readers."""

from tradewind.datasets.dataset import Dataset
from tradewind.datasets.reading.batches import Batches, Draws
from tradewind.datasets.reading.certificate import Certificate
from tradewind.datasets.reading.order import Permutation
from tradewind.datasets.reading.reader import Batch, Reader
from tradewind.datasets.reading.samples import Samples, boundaries
from tradewind.datasets.versions import Datasets

__all__ = [
    "Batch",
    "Batches",
    "Certificate",
    "Dataset",
    "Datasets",
    "Draws",
    "Permutation",
    "Reader",
    "Samples",
    "boundaries",
]
