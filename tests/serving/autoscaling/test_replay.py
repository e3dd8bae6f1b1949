from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest

from tradewind.errors import NotFoundError
from tradewind.records import ScalingWindow
from tradewind.serving.autoscaling import Limits, policy
from tradewind.serving.autoscaling.history import Recorder, read_windows
from tradewind.serving.autoscaling.replay import fit, repeat, replay
from tradewind.serving.autoscaling.simulator import Outcome, World, simulate
from tradewind.serving.autoscaling.traces import Arrival, step
from tradewind.storage import open_store

LIMITS = Limits(max=6, ttft_s=1.0, cold_start_s=10.0)
DEMAND = step(low=1.5, duration_s=600, seed=5)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[ScalingWindow], Outcome]:
    """Ten minutes of an endpoint with a step of demand, as they were recorded, and what really came of them."""
    store = open_store(str(tmp_path_factory.mktemp("workspace")))
    recorder = Recorder(store, "chat", "tokens", LIMITS)
    outcome = simulate(DEMAND, policy("tokens", LIMITS), World(), see=recorder.see)
    recorder.flush()
    return read_windows(store, "chat"), outcome


def test_same_policy_decides_the_same_on_what_it_saw(played: tuple[list[ScalingWindow], Outcome]) -> None:
    windows, outcome = played
    assert len(outcome.changes) > 3
    assert repeat(windows) == (1200, 1200)


def test_other_limits_do_not_decide_the_same(played: tuple[list[ScalingWindow], Outcome]) -> None:
    other = [one.model_copy(update={"limits": {**one.limits, "max": 2}}) for one in played[0]]
    same, looks = repeat(other)
    assert same < looks == 1200


def test_looks_of_a_policy_that_had_seen_more_are_not_repeated(played: tuple[list[ScalingWindow], Outcome]) -> None:
    assert repeat(played[0][1:]) == (0, 0)


def test_demand_and_replicas_are_found_again(played: tuple[list[ScalingWindow], Outcome]) -> None:
    demand, world = fit(played[0], LIMITS, 2.0)
    assert demand.duration_s == 600
    assert len(demand.arrivals) == pytest.approx(len(DEMAND.arrivals), rel=0.1)
    assert fmean(one.tokens for one in demand.arrivals) == pytest.approx(256, rel=0.1)
    assert world.pace.slots == 8
    assert world.pace.seconds(Arrival(0.0, 0, 256)) == pytest.approx(2.66, rel=0.1)
    assert world.pace.first_s == pytest.approx(0.1, rel=0.05)


def test_replay_holds_the_other_policy_against_what_happened(played: tuple[list[ScalingWindow], Outcome]) -> None:
    windows, outcome = played
    found = replay(windows, "classic", usd_per_replica_hour=2.0)
    assert found.happened.replica_hours == pytest.approx(outcome.replica_s / 3600, rel=0.05)
    assert found.recorded.replica_hours == pytest.approx(found.happened.replica_hours, rel=0.15)
    assert found.other.slo_violation_s > 2 * found.recorded.slo_violation_s
    assert found.other.usd == pytest.approx(2 * found.other.replica_hours)
    assert [one.basis for one in (found.happened, found.recorded, found.other)] == [
        "measured",
        "estimated",
        "estimated",
    ]
    assert found.happened.changes == len(outcome.changes)


def test_replay_of_silence_says_so(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    recorder = Recorder(store, "chat", "tokens", LIMITS)
    simulate(step(low=0.0, duration_s=30), policy("tokens", LIMITS), World(), see=recorder.see)
    recorder.flush()
    with pytest.raises(NotFoundError, match="no request came"):
        replay(read_windows(store, "chat"), "classic", usd_per_replica_hour=1.0)


def test_unknown_policy_is_named_with_the_nearest(played: tuple[list[ScalingWindow], Outcome]) -> None:
    with pytest.raises(NotFoundError, match=r"no autoscaling policy named 'token' \(did you mean 'tokens'"):
        replay(played[0], "token", usd_per_replica_hour=1.0)
