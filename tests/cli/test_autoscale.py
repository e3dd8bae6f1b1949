from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Tw, record_endpoint
from tradewind.serving.autoscaling import Limits, policy
from tradewind.serving.autoscaling.history import Recorder
from tradewind.serving.autoscaling.simulator import World, simulate
from tradewind.serving.autoscaling.traces import step
from tradewind.workspace import Workspace


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose endpoint `chat` was scaled for five minutes, in the first hours of 1970; `calm` never was."""
    folder = tmp_path_factory.mktemp("scaled")
    place = Workspace(str(folder))
    limits = Limits(max=5, ttft_s=1.0)
    recorder = Recorder(place.store, "chat", "tokens", limits)
    simulate(step(low=1.5, duration_s=300, seed=1), policy("tokens", limits), World(), see=recorder.see)
    recorder.flush()
    record_endpoint(place, "calm", pid=1, host="elsewhere")
    return folder


def test_decisions_are_shown_with_their_reasons(tw: Tw, scaled: Path) -> None:
    answer = tw("autoscale", "show", "chat", "-w", scaled)
    assert (answer.exit_code, answer.err) == (0, "")
    assert " → 2" in answer.out
    assert "tokens in flight" in answer.out


def test_decisions_have_their_inputs_as_json(tw: Tw, scaled: Path) -> None:
    found = tw("autoscale", "show", "chat", "-w", scaled, "--last", 2, "--json").json
    assert len(found) == 2
    assert {"waiting", "at_work", "residence_s"} <= set(found[0]["inputs"])


def test_endpoint_that_was_never_scaled_has_no_decisions(tw: Tw, scaled: Path) -> None:
    answer = tw("autoscale", "show", "calm", "-w", scaled)
    assert (answer.exit_code, answer.err) == (0, "")
    assert answer.out == "the number of replicas of calm was never changed by a policy\n"


def test_other_policy_is_held_against_what_happened(tw: Tw, scaled: Path) -> None:
    words = ("autoscale", "replay", "chat", "--policy", "classic", "--usd-per-replica-hour", 2, "-w", scaled)
    answer = tw(*words)
    assert (answer.exit_code, answer.err) == (0, "")
    for part in ("what happened", "measured", "estimated", "tokens decides 600 of 600", "classic instead of tokens: "):
        assert part in answer.out
    found = tw(*words, "--json").json
    assert found["other"]["slo_violation_s"] > found["recorded"]["slo_violation_s"]
    assert found["happened"]["usd"] == pytest.approx(2 * found["happened"]["replica_hours"])


def test_part_of_the_time_is_replayed(tw: Tw, scaled: Path) -> None:
    words = ("autoscale", "replay", "chat", "--policy", "tokens", "--set", "room=1", "-w", scaled, "--json")
    assert tw(*words, "--to", "1970-01-01T00:01:30").json["seconds"] < 130


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("replay", "chat", "--policy", "clasic"), "no autoscaling policy named 'clasic' (did you mean 'classic'?)"),
        (("replay", "chat", "--policy", "tokens", "--from", "soon"), "--from: 'soon' is no time"),
        (("replay", "chat", "--policy", "tokens", "--set", "room=much"), "--set room=much: 'much' is no number"),
        (("replay", "chat", "--policy", "tokens", "--set", "rom=1"), "autoscaling policy 'tokens': "),
        (
            ("replay", "chat", "--policy", "tokens", "--from", "1d"),
            "nothing is recorded of the scaling of endpoint 'chat'",
        ),
        (("replay", "calm", "--policy", "tokens"), "nothing is recorded of the scaling of endpoint 'calm'"),
        (("replay", "chatt", "--policy", "tokens"), "no endpoint named 'chatt'"),
        (("show", "nobody"), "no endpoint named 'nobody'"),
    ],
)
def test_mistakes_are_named(tw: Tw, scaled: Path, words: tuple[str, ...], said: str) -> None:
    answer = tw("autoscale", *words, "-w", scaled)
    assert answer.exit_code == 2
    assert said in answer.err
    assert "hint:" in answer.err or "did you mean" in answer.err or "known" in answer.err or "unexpected" in answer.err
