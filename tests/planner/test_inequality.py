from __future__ import annotations

import math

from tradewind.planner.inequality import Inequality


def test_inequality_says_what_is_needed_and_what_there_is() -> None:
    assert str(Inequality("memory of a H100-SXM", 93.1, 73.6, "GiB")) == "memory of a H100-SXM: 93.1 GiB > 73.6 GiB"


def test_excess_is_how_many_times_too_little_there_is() -> None:
    assert Inequality("dollars", 150.0, 100.0, "USD").excess == 1.5
    assert Inequality("dollars", 150.0, 0.0, "USD").excess == math.inf


def test_what_is_not_there_is_said_without_numbers() -> None:
    lack = Inequality("the catalogue has no memory of A40")
    assert (str(lack), lack.excess) == ("the catalogue has no memory of A40", math.inf)
