from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.planner.spot import (
    PRIORS,
    SPOT,
    Hazard,
    Prior,
    checkpoint_interval_s,
    effective_usd_per_hour,
    rework_share,
    spot_pays,
)

GAMMA_QUANTILES = [
    (2.0, 0.355361, 4.743865),
    (5.0, 1.970150, 9.153519),
    (10.0, 5.425406, 15.705216),
    (50.0, 38.964790, 62.171057),
]
"""Shape, and the 5 % and 95 % quantiles at rate 1: half of those of χ² with twice the degrees of freedom."""


ZONES = [(41, 55.8), (60, 105.0), (44, 140.7), (57, 129.7), (195, 420.0), (75, 1250.1), (330, 1395.8)]
"""Interruptions and machine-hours of the traces that the prior names, zone by zone."""


@pytest.mark.parametrize(("shape", "low", "high"), GAMMA_QUANTILES)
def test_interval_has_the_quantiles_of_the_gamma_distribution(shape: float, low: float, high: float) -> None:
    found = Hazard(prior=Prior(shape, 1.0, "test")).interval(0.9)
    assert found[0] == pytest.approx(low, rel=0.03)
    assert found[1] == pytest.approx(high, rel=0.01)


def test_prior_has_the_mean_and_the_variance_of_the_zones_that_were_traced() -> None:
    taken, hours = np.array(ZONES).T
    mean = taken.sum() / hours.sum()
    between = (hours * (taken / hours - mean) ** 2).sum() / hours.sum() - len(hours) * mean / hours.sum()
    assert Hazard().mean_per_hour == pytest.approx(mean, rel=0.01)
    assert SPOT.interruptions == pytest.approx(mean**2 / between, rel=0.05)


def test_what_was_seen_soon_outweighs_the_prior() -> None:
    assert Hazard(machine_hours=200).mean_per_hour < 0.01
    assert Hazard(interruptions=1000, machine_hours=1000).mean_per_hour == pytest.approx(1.0, rel=0.01)


def test_interval_narrows_with_what_was_seen() -> None:
    few, many = Hazard(2, 10).interval(0.9), Hazard(200, 1000).interval(0.9)
    assert few[0] < many[0] < many[1] < few[1]


@given(interruptions=st.integers(0, 10**6), hours=st.floats(0, 1e6), share=st.floats(0.01, 0.999))
def test_mean_is_in_the_interval_or_the_interval_is_small(interruptions: int, hours: float, share: float) -> None:
    hazard = Hazard(interruptions, hours)
    low, high = hazard.interval(share)
    assert 0 <= low < high < math.inf
    assert hazard.interval(0.9)[0] < hazard.mean_per_hour < hazard.interval(0.9)[1]


def test_machines_that_nobody_takes_away_break_a_thousand_times_less_often() -> None:
    steady = Hazard(prior=PRIORS["on_demand"]).mean_per_hour
    assert steady == pytest.approx(419 / (54 * 24 * 2048), rel=0.001)
    assert steady < Hazard(prior=SPOT).mean_per_hour / 1000


def test_each_interruption_loses_half_a_checkpoint_and_a_start() -> None:
    """0.01 an hour on 2 machines, each 5 + 5 minutes: 1/300 of all time."""
    assert rework_share(0.01, 2, 600, 300) == pytest.approx((1 / 300) / (299 / 300))


def test_run_that_loses_all_time_never_ends() -> None:
    assert rework_share(1.0, 6, 600, 300) == math.inf
    assert rework_share(1.0, 5.9, 600, 300) == pytest.approx(59)


def test_no_hazard_loses_nothing() -> None:
    assert rework_share(0.0, 100, 600, 300) == 0


@given(
    hazard=st.floats(0, 10),
    machines=st.integers(1, 10_000),
    checkpoint_s=st.floats(0, 1e5),
    restart_s=st.floats(0, 1e4),
)
def test_loss_grows_with_hazard_and_machines(
    hazard: float, machines: int, checkpoint_s: float, restart_s: float
) -> None:
    share = rework_share(hazard, machines, checkpoint_s, restart_s)
    assert 0 <= share <= rework_share(hazard * 1.1, machines, checkpoint_s, restart_s)
    assert share <= rework_share(hazard, machines + 1, checkpoint_s, restart_s)


def test_many_offers_are_reckoned_at_once() -> None:
    hazards, machines = np.array([0.0, 0.1, 1.0, 10.0]), np.array([1.0, 2.0, 3.0, 4.0])
    shares = rework_share(hazards, machines, 600.0, 300.0)
    each = [rework_share(float(hazard), float(n), 600.0, 300.0) for hazard, n in zip(hazards, machines, strict=True)]
    assert shares.tolist() == each
    assert each[-1] == math.inf


@pytest.mark.parametrize(("hazard_per_hour", "usd"), [(0.6 / 1.1, 0.33), (2.4 / 1.4, 0.42)])
def test_price_share_of_30_cents_becomes_33_to_42(hazard_per_hour: float, usd: float) -> None:
    rework = rework_share(hazard_per_hour, 1, 600, 300)
    assert effective_usd_per_hour(0.30, rework) == pytest.approx(usd)


def test_shares_may_be_given_apart() -> None:
    assert effective_usd_per_hour(0.30, 0.25, 0.15) == pytest.approx(0.42)


def test_four_fifths_of_the_price_with_a_quarter_of_rework_saves_nothing() -> None:
    assert effective_usd_per_hour(0.80, 0.25) == pytest.approx(1.0)
    assert not spot_pays(0.80, 1.0, 0.25)


def test_spot_pays_while_the_hazard_is_low_and_not_when_it_is_high() -> None:
    rework = rework_share(np.array([0.01, 0.1, 1.0]), 8, 600.0, 300.0)
    assert spot_pays(np.full(3, 0.5), 1.0, rework).tolist() == [True, True, False]


def test_spot_price_above_the_cap_never_pays() -> None:
    assert not spot_pays(0.81, 1.0, 0.0)
    assert spot_pays(0.80, 1.0, 0.0)


@given(hazard=st.floats(1e-4, 1), machines=st.integers(1, 100), write_s=st.floats(0.1, 60))
def test_no_other_interval_between_checkpoints_loses_less(hazard: float, machines: int, write_s: float) -> None:
    best_s = checkpoint_interval_s(hazard, machines, write_s)

    def lost(interval_s: float) -> float:
        return write_s / interval_s + hazard * machines / 3600 * interval_s / 2

    assert lost(best_s) <= min(lost(best_s * 0.9), lost(best_s * 1.1))
