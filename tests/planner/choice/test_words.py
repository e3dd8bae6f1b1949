from __future__ import annotations

from tests.records.test_records import PLACEMENT
from tradewind.planner.choice.words import (
    alike,
    carbon_words,
    chips_words,
    dollar_words,
    layout_words,
    place_words,
    range_words,
)
from tradewind.records import Interval
from tradewind.units import format_hours


def test_words_of_a_placement() -> None:
    assert place_words(PLACEMENT) == "aws/us-east-1"
    assert place_words(PLACEMENT.model_copy(update={"zone": "us-east-1a"})) == "aws/us-east-1a"
    assert chips_words(PLACEMENT) == "8 H100-SXM"
    assert chips_words(PLACEMENT.model_copy(update={"chip": ""})) == "processors"
    assert layout_words(PLACEMENT.model_copy(update={"recompute": "full"})) == "shard 8, recompute full"
    assert layout_words(PLACEMENT.model_copy(update={"layout": {}, "replicas": 3})) == "3 replicas, whole"
    assert carbon_words(PLACEMENT) == "–"
    assert dollar_words(PLACEMENT.model_copy(update={"price_is_old": True})) == "$21.50*"


def test_interval_is_one_figure_where_nothing_is_uncertain() -> None:
    assert range_words(Interval(low=1.0, value=1.0, high=1.0), format_hours) == "1 h"
    assert range_words(Interval(low=1.0, value=2.0, high=60.0), format_hours) == "2 h (1 h – 2.5 d)"


def test_placements_that_differ_in_their_place_alone_are_counted_as_one() -> None:
    twin = PLACEMENT.model_copy(update={"region": "us-west-2", "offer": "aws/us-west-2/eight/spot"})
    other = PLACEMENT.model_copy(update={"machines": 2})
    assert alike([PLACEMENT, twin, other]) == [(PLACEMENT, 1), (other, 0)]
