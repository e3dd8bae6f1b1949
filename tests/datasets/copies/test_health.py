from __future__ import annotations

import time

import pytest

from tradewind.datasets.copies.health import COOL_DOWN_S, SHORTEST_PATIENCE_S, Health

MIB = 2**20


def measured(*totals: float, num_bytes: int = 1000) -> Health:
    health = Health()
    for total in totals:
        health.succeeded(num_bytes, first_s=total, total_s=total)
    return health


def test_nothing_is_expected_before_the_first_read() -> None:
    assert Health().expected_s(MIB) is None
    assert Health().patience_s(MIB) is None


def test_newest_read_counts_a_fifth() -> None:
    assert measured(1.0, 2.0).expected_s(0) == pytest.approx(1.2)


def test_large_read_takes_its_share_of_the_speed() -> None:
    health = Health()
    health.succeeded(4 * MIB, first_s=0.1, total_s=2.1)
    assert health.expected_s(8 * MIB) == pytest.approx(0.1 + 4.0)


def test_patience_is_what_the_slowest_in_twenty_took() -> None:
    health = measured(*[0.1] * 95, *[1.0] * 5)
    expected = health.expected_s(1000)
    assert expected is not None
    patience = health.patience_s(1000)
    assert patience is not None
    assert patience > expected
    assert measured(*[0.1] * 100).patience_s(1000) == pytest.approx(0.1)


def test_few_reads_give_no_measure_of_the_slowest() -> None:
    assert measured(*[0.1] * 10).patience_s(1000) is None


def test_patience_is_never_shorter_than_a_blink() -> None:
    assert measured(*[0.0001] * 100).patience_s(1000) == SHORTEST_PATIENCE_S


def test_failure_cools_longer_each_time_and_success_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: moment)
    health = Health()
    health.failed()
    assert health.is_cooling
    moment += COOL_DOWN_S
    assert not health.is_cooling
    health.failed()
    moment += COOL_DOWN_S
    assert health.is_cooling
    health.succeeded(1, first_s=0.1, total_s=0.1)
    assert not health.is_cooling


def test_copy_that_gave_nothing_while_another_was_done_is_left_alone() -> None:
    silent, slow = Health(), Health()
    silent.overtaken(MIB, first_s=None, total_s=3.0)
    slow.overtaken(MIB, first_s=0.5, total_s=3.0)
    assert (silent.is_cooling, slow.is_cooling) == (True, False)
    assert silent.expected_s(0) == 3.0
