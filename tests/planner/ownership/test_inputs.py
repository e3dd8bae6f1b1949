from __future__ import annotations

import pytest

from tradewind.errors import SpecError
from tradewind.planner.ownership import Known, inputs
from tradewind.planner.ownership.inputs import items, span

KNOWN = {name: Known(1.0, 3.0, "a page, 2026-05") for name in (*items(), "node_usd", "node_kw", "usd_per_gpu_hour")}


def test_what_is_given_counts_before_sources_and_those_before_assumptions() -> None:
    found = inputs({"wacc": 0.1}, KNOWN)
    assert (found["wacc"].value, found["wacc"].basis) == (0.1, "given")
    assert (found["node_usd"].value, found["node_usd"].basis, found["node_usd"].source) == (
        2.0,
        "source",
        "a page, 2026-05",
    )
    assert found["staff_fte_per_node"].basis == "assumption"


def test_every_assumption_says_what_is_assumed_and_lies_in_its_range() -> None:
    for one in inputs({}, KNOWN).values():
        assert one.low <= one.value <= one.high
        assert one.source
        assert one.what


def test_input_that_nobody_knows_is_asked_for() -> None:
    with pytest.raises(SpecError, match="node_usd is not known: a server with its chips, in USD") as caught:
        inputs({}, {})
    assert caught.value.hint == "give it: --set node_usd=…"


def test_unknown_input_names_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"did you mean 'usd_per_kwh'\?"):
        inputs({"usd_per_kw": 1.0}, KNOWN)


def test_likely_value_counts_before_the_middle() -> None:
    found = inputs({}, {**KNOWN, "usd_per_gpu_hour": Known(1.0, 3.0, "offers", value=1.0)})
    assert found["usd_per_gpu_hour"].value == 1.0


def test_ranges_of_several_sources_become_one() -> None:
    assert span([Known(1, 2, "a"), Known(0, 1, "b"), Known(1, 3, "a")]) == Known(0, 3, "a; b")
    assert span([]) is None
