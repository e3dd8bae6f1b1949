"""What is worth looking at: the rows that no other row beats in everything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pareto_front(costs: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices of the rows [rows, measures] that no other row equals or beats in every measure, less being better.

    Sorted by the first measure. Of equal rows the first one stays. A value that is not a number counts as infinite.
    """
    costs = np.nan_to_num(costs, nan=np.inf, posinf=np.inf)
    order = np.lexsort(costs.T[::-1])  # by the first measure, ties by the next: whoever comes first is beaten by nobody
    left, front = costs[order], []
    while len(order):
        front.append(order[0])
        beaten = (left >= left[0]).all(axis=1)
        order, left = order[~beaten], left[~beaten]
    return np.array(front, dtype=np.intp)
