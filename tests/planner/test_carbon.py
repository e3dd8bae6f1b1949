from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planner.test_energy import HERE, offer
from tradewind.planner.carbon import carbon_g, per_million_tokens
from tradewind.planner.energy import DEFAULT_PUE, energy_kwh


def test_grams_are_energy_times_building_times_grid() -> None:
    assert carbon_g(10.0, offer()) == pytest.approx(10 * 1.2 * 379)


def test_job_has_the_joules_and_grams_of_its_hours() -> None:
    """8 machines of 1 kW for half an hour, and 40 million tokens."""
    kwh = energy_kwh(8 * 1000.0, seconds=1800)
    grams = carbon_g(kwh, offer())
    assert kwh == 4.0
    assert grams == pytest.approx(1819.2)
    assert per_million_tokens(kwh * 3.6e6, 40e6) == pytest.approx(360_000)
    assert grams is not None
    assert per_million_tokens(grams, 40e6) == pytest.approx(45.48)


def test_unknown_grid_has_no_carbon() -> None:
    assert carbon_g(10.0, offer(region=replace(HERE, carbon_g_per_kwh=None))) is None


def test_unknown_building_adds_what_the_industry_does() -> None:
    assert carbon_g(1.0, offer(region=replace(HERE, pue=None))) == pytest.approx(DEFAULT_PUE * 379)


def test_energies_may_be_an_array() -> None:
    found = carbon_g(np.array([0.0, 1.0, 10.0]), offer())
    assert found is not None
    assert found.tolist() == pytest.approx([0, 454.8, 4548])


@given(kwh=st.floats(0, 1e9))
def test_carbon_is_never_negative(kwh: float) -> None:
    grams = carbon_g(kwh, offer())
    assert grams is not None
    assert grams >= 0
