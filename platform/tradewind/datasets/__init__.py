"""Immutable dataset versions on any object store, read in one shuffled order by any number of readers."""

from tradewind.datasets.batches import Batches, Draws
from tradewind.datasets.certificate import Certificate
from tradewind.datasets.dataset import Dataset
from tradewind.datasets.order import Permutation
from tradewind.datasets.reader import Batch, Reader
from tradewind.datasets.samples import Samples, boundaries
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
