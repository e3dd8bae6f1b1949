from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.errors import SpecError
from tradewind.planner.spot import Hazard, Prior, rework_share
from tradewind.tuning.prices import OWN, Choice, PriceGuard, Quote

CALM = Hazard(interruptions=0, machine_hours=1000)
WILD = Hazard(prior=Prior(6.0, 1.0, "six an hour"))

prices = st.floats(0.001, 100.0)
guards = st.builds(
    PriceGuard,
    cap=st.floats(0.05, 1.0),
    otherwise=st.sampled_from(["pause", "on_demand"]),
    hazard=st.builds(Hazard, interruptions=st.integers(0, 50), machine_hours=st.floats(0, 200)),
    machines=st.integers(1, 16),
    checkpoint_s=st.floats(0, 3600),
    restart_s=st.floats(0, 600),
)


def trace(seed: int, *, hours: int = 24 * 14, on_demand_usd: float = 3.06) -> Iterator[tuple[int, Quote]]:
    """Hourly prices as a spot market has them: near a third of that on demand, drifting back, with spikes above it."""
    dice, share = random.Random(seed), 0.35
    for hour in range(hours):
        share += 0.1 * (0.35 - share) + dice.gauss(0, 0.05)
        share = max(0.1, share + (dice.uniform(0.3, 1.2) if dice.random() < 0.04 else 0.0))
        yield hour, Quote(share * on_demand_usd, on_demand_usd, "p3.2xlarge in aws/us-east-1a")


def test_cheap_spot_machine_is_taken_and_the_sentence_has_the_figures() -> None:
    found = PriceGuard(hazard=CALM).choose(Quote(0.30, 1.00, "m5.large in aws/us-east-1"))
    assert (found.way, found.usd_per_hour, found.works) == ("spot", 0.30, True)
    assert found.reason.startswith("spot at $0.30 an hour, 30% of the $1.00 on demand (cap 80%)")
    assert found.numbers["effective_usd"] == pytest.approx(0.30, rel=0.01)


@pytest.mark.parametrize(("otherwise", "usd"), [("pause", 0.0), ("on_demand", 1.0)])
def test_price_above_the_cap_pauses_or_falls_back_and_says_why(otherwise: str, usd: float) -> None:
    found = PriceGuard(hazard=CALM, otherwise=otherwise).choose(Quote(0.81, 1.00, "m5.large"))  # type: ignore[arg-type]
    assert (found.way, found.usd_per_hour) == (otherwise, usd)
    assert "the spot price of m5.large, $0.81 an hour, is 81%, above the cap of 80%" in found.reason


def test_price_at_the_cap_is_still_taken() -> None:
    assert PriceGuard(hazard=CALM).choose(Quote(0.80, 1.00)).way == "spot"


def test_spot_that_costs_more_in_the_end_is_left_though_it_is_below_the_cap() -> None:
    guard = PriceGuard(hazard=WILD, checkpoint_s=300, restart_s=60, otherwise="on_demand")
    found = guard.choose(Quote(0.70, 1.00))
    assert found.way == "on_demand"
    assert "becomes $1.08 with 38% of rework and 15% of restarts at 6 interruptions an hour" in found.reason


def test_hazard_that_lets_no_work_end_is_told() -> None:
    found = PriceGuard(hazard=WILD, checkpoint_s=3600).choose(Quote(0.10, 1.00))
    assert (found.way, found.effective_usd) == ("pause", None)
    assert "at 6 interruptions an hour work on the spot market would never end" in found.reason


def test_machine_on_demand_is_worked_on_whatever_the_cap() -> None:
    found = PriceGuard(cap=0.1).choose(Quote(None, 1.0, "x"))
    assert (found.way, found.usd_per_hour) == ("on_demand", 1.0)
    assert found.reason == "on demand at $1.00 an hour: x is no spot machine"


@pytest.mark.parametrize("quote", [Quote(0.2, None, "x"), Quote(None, None, "x")])
def test_price_that_nobody_knows_is_no_reason_to_spend(quote: Quote) -> None:
    found = PriceGuard().choose(quote)
    assert (found.way, found.usd_per_hour) == ("pause", 0.0)
    assert "of x is known" in found.reason


def test_own_machine_costs_nothing() -> None:
    found = PriceGuard().choose(OWN)
    assert (found.way, found.usd_per_hour, found.works) == ("own", 0.0, True)
    assert found.reason == "this machine is paid for: its time alone is counted"


@pytest.mark.parametrize("cap", [0.0, -0.5, float("inf"), float("nan")])
def test_cap_that_is_no_share_is_refused(cap: float) -> None:
    with pytest.raises(SpecError, match="no share of the price on demand"):
        PriceGuard(cap=cap)


def test_interruptions_that_were_seen_change_the_mind() -> None:
    guard, quote = PriceGuard(checkpoint_s=600, restart_s=120), Quote(0.75, 1.00)
    assert guard.seen(0, 100.0).choose(quote).way == "spot"
    assert guard.seen(400, 100.0).choose(quote).way == "pause"


def test_best_is_the_machine_whose_work_is_cheapest_in_the_end() -> None:
    guard = PriceGuard(hazard=CALM, otherwise="on_demand")
    dear, cheap, spiked = Quote(0.50, 1.00, "dear"), Quote(0.30, 0.60, "cheap"), Quote(0.45, 0.50, "spiked")
    assert guard.best([dear, spiked, cheap]).quote is cheap
    assert guard.best([spiked, dear]).quote in (spiked, dear)
    assert replace(guard, otherwise="pause").best([spiked, dear]).quote is dear
    assert guard.best([cheap, OWN]).way == "own"
    assert replace(guard, otherwise="pause").best([spiked, Quote(None, 0.9, "steady")]).way == "on_demand"
    with pytest.raises(SpecError, match="no machine"):
        guard.best([])


@given(guard=guards, spot=prices, on_demand=prices)
def test_spot_is_taken_only_below_the_cap_and_cheaper_in_the_end(
    guard: PriceGuard, spot: float, on_demand: float
) -> None:
    found = guard.choose(Quote(spot, on_demand))
    allowed = spot <= guard.cap * on_demand and guard.effective_usd(spot) < on_demand
    assert (found.way == "spot") == allowed
    assert found.way == ("spot" if allowed else guard.otherwise)
    assert found.reason


@given(guard=guards)
def test_rework_and_restart_are_what_the_planner_says_is_lost(guard: PriceGuard) -> None:
    lost = rework_share(guard.hazard.mean_per_hour, guard.machines, guard.checkpoint_s, guard.restart_s)
    if lost < float("inf"):
        assert guard.rework + guard.restart == pytest.approx(lost)
        assert guard.rework * guard.restart_s == pytest.approx(guard.restart * guard.checkpoint_s / 2, abs=1e-9)


def replay(guard: PriceGuard, seed: int) -> list[tuple[Quote, Choice]]:
    """Every hour of a trace with what was done in it, to begin and to go on alike."""
    return [(quote, guard.choose(quote)) for _, quote in trace(seed)]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("cap", [0.5, 0.8])
def test_replay_of_price_traces_has_no_hour_above_the_cap(seed: int, cap: float) -> None:
    hours = replay(PriceGuard(cap=cap), seed)
    assert any((quote.share or 0) > cap for quote, _ in hours), "the trace has no spike, and so proves nothing"
    assert any(choice.way == "spot" for _, choice in hours)
    for quote, choice in hours:
        assert choice.usd_per_hour <= cap * (quote.on_demand_usd or 0)
        assert choice.way in ("spot", "pause")


@pytest.mark.parametrize("seed", range(5))
def test_replay_that_falls_back_never_pays_more_than_on_demand(seed: int) -> None:
    hours = replay(PriceGuard(otherwise="on_demand"), seed)
    assert {choice.way for _, choice in hours} == {"spot", "on_demand"}
    assert all(choice.usd_per_hour <= (quote.on_demand_usd or 0) for quote, choice in hours)
