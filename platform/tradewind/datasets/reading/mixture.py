"""Several sources in one stream, each as often as its weight says, spread as evenly as whole samples allow.

The weights become the smallest whole numbers in the same proportion. Over that many samples each source comes exactly
so often, its turns evenly spaced; then the pattern repeats. So any position is computed by itself, and at no point is
a source more than one sample per other source away from its share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from tradewind.datasets.reading.order import Indices
from tradewind.errors import SpecError

LONGEST = 1_000_000
"""Samples until a pattern repeats; more digits than that in weights mean nothing."""


class Mixture:
    """Positions in the mixed stream become positions in the streams of the sources."""

    def __init__(self, weights: Sequence[float]) -> None:
        """Raises SpecError for weights that are not positive, or have so many digits that no pattern is short."""
        self.weights = _whole(weights)
        turns = np.concatenate([(np.arange(count) + 0.5) / count for count in self.weights])
        sources = np.repeat(np.arange(len(self.weights)), self.weights)
        order = np.lexsort((sources, turns))
        self._sources = sources[order]
        self._turns = np.concatenate([np.arange(count) for count in self.weights])[order]

    def __call__(self, positions: Indices) -> tuple[Indices, Indices]:
        """Which source each position is drawn from, and its position there."""
        periods, within = np.divmod(positions, len(self._sources))
        sources = self._sources[within]
        return sources, periods * np.array(self.weights)[sources] + self._turns[within]


def _whole(weights: Sequence[float]) -> list[int]:
    if any(not math.isfinite(weight) or weight <= 0 for weight in weights):
        raise SpecError(f"weights are positive numbers, not {list(weights)}", hint="leave a source out for weight 0")
    shares = [Fraction(str(weight)) for weight in weights]
    unit = math.lcm(*(share.denominator for share in shares))
    counts = [int(share * unit) for share in shares]
    common = math.gcd(*counts)
    counts = [count // common for count in counts]
    if sum(counts) > LONGEST:
        raise SpecError(f"the weights {list(weights)} have too many digits", hint="round them, for example to 0.001")
    return counts
