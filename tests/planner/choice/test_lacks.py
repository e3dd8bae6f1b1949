from __future__ import annotations

import numpy as np

from tradewind.planner.choice.lacks import Lacks
from tradewind.planner.inequality import Inequality


def test_of_several_lacks_the_nearest_is_kept() -> None:
    lacks = Lacks(3)
    lacks.add(np.array([0, 1]), Inequality("memory", 200.0, 80.0, "GiB"), "fits")
    lacks.add_each(np.array([0, 2]), "dollars", need=np.array([110.0, 500.0]), have=100.0, unit="USD", stage="fits")
    assert str(lacks.nearest(0)) == "dollars: 110 USD > 100 USD"
    assert str(lacks.nearest(1)) == "memory: 200 GiB > 80 GiB"
    assert str(lacks.nearest(2)) == "dollars: 500 USD > 100 USD"


def test_something_that_is_not_there_is_farther_than_any_number() -> None:
    lacks = Lacks(1)
    lacks.add(np.array([0]), Inequality("without a chip"), "fits")
    lacks.add(np.array([0]), Inequality("hours", 1e9, 1.0, "h"), "fits")
    assert str(lacks.nearest(0)) == "hours: 1e+09 h > 1 h"


def test_offer_without_a_lack_has_none() -> None:
    assert Lacks(1).nearest(0) is None


def test_what_breaks_a_limit_is_nearer_than_what_does_not_fit() -> None:
    lacks = Lacks(2)
    lacks.add(np.array([0]), Inequality("hours", 500.0, 1.0, "h"), "limits")
    lacks.add(np.array([0, 1]), Inequality("memory", 81.0, 80.0, "GiB"), "fits")
    assert str(lacks.nearest(0)) == "hours: 500 h > 1 h"
    assert lacks.order(np.array([1, 0])).tolist() == [0, 1]
