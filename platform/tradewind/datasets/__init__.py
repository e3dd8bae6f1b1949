"""Immutable dataset versions: text becomes token shards, in one shuffled order for any number of readers."""

from tradewind.datasets.batches import Batches
from tradewind.datasets.dataset import Dataset
from tradewind.datasets.order import Permutation
from tradewind.datasets.versions import Datasets

__all__ = ["Batches", "Dataset", "Datasets", "Permutation"]
