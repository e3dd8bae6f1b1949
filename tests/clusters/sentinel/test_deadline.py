from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.clusters.sentinel.deadline import deadline_unix_s, parse_time


@given(ahead_s=st.floats(-119, 119))
def test_plausible_deadline_is_the_clouds(ahead_s: float) -> None:
    stated = time.time() + ahead_s
    assert deadline_unix_s(stated, warning_s=120) == pytest.approx(stated, abs=1e-3)


@given(ahead_s=st.one_of(st.floats(-1e9, -121), st.floats(122, 1e9)))
def test_clock_that_is_wrong_costs_no_warning_and_wins_none(ahead_s: float) -> None:
    before = time.time()
    assert before + 120 <= deadline_unix_s(before + ahead_s, warning_s=120) <= time.time() + 120


@pytest.mark.parametrize("text", ["2016-09-19T18:29:47Z", "2016-09-19T18:29:47", "Mon, 19 Sep 2016 18:29:47 GMT"])
def test_times_of_the_clouds_are_read_as_utc(text: str) -> None:
    assert parse_time(text) == 1474309787


@pytest.mark.parametrize("text", ["", "soon", "18:29"])
def test_text_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)
