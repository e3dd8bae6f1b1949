"""Searches on this machine: real replicas, real load, and the records that they leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serving.trials.conftest import echo_spec
from tradewind.errors import SpecError
from tradewind.records import ServingLoad
from tradewind.serving.trials import Goals, tune
from tradewind.serving.trials.tune import load_of, records_of, try_out
from tradewind.specs import ServeSpec
from tradewind.storage import Store
from tradewind.workspace import Workspace


@pytest.mark.slow
def test_setting_that_the_law_says_is_found(store: Store, tmp_path: Path) -> None:
    """A token takes 100 ms with one request at once and 60 ms more with each further: 3 keep a bound of 250 ms.

    The engine is never faster than its law, so 4 never do; on a busy machine it is slower, and fewer are right.
    """
    law = {"each_s": 0.1, "each_more_s": 0.06}
    spec = echo_spec(tmp_path, law=law, max_concurrency=8, traffic={"tokens_in": 12, "tokens_out": 4})
    goals = Goals(itl_s=0.25)
    found = tune(store, spec, goals=goals, clients=8, seconds=2.0, trials=5)
    assert found.misses == []
    assert found.chosen.setting.max_concurrency in (1, 2, 3)
    assert found.changes == {"max_concurrency": found.chosen.setting.max_concurrency}
    assert found.chosen in found.front
    assert [one.setting.max_concurrency for one in found.points[:4]] == [8, 1, 2, 4]


@pytest.mark.slow
def test_trial_is_a_record_from_which_it_is_measured_again(store: Store, tmp_path: Path) -> None:
    spec = echo_spec(tmp_path, law={"each_s": 0.02}, scaling={"max": 3})
    found = tune(store, spec, clients=2, seconds=1.0, trials=2)
    first, second = records_of(store, "chat").all()
    assert [one.number for one in found.points] == [first.number, second.number]
    assert first.figures == found.points[0].figures
    assert first.search == second.search
    assert ServeSpec.of(**second.spec) == found.points[1].setting.on(spec.with_values(model=second.spec["model"]))
    assert first.start_s
    assert first.versions["tradewind"]
    _, again = try_out(store, ServeSpec.of(**first.spec), first.load)
    assert first.figures
    assert again.tokens_per_s == pytest.approx(first.figures.tokens_per_s, rel=0.5)


@pytest.mark.slow
def test_spec_that_cannot_start_as_it_is_is_told_and_leaves_a_record(store: Store, tmp_path: Path) -> None:
    spec = echo_spec(tmp_path, traffic={"tokens_in": 9000, "tokens_out": 9})
    with pytest.raises(SpecError, match="context is 8192"):
        tune(store, spec, trials=3)
    (record,) = records_of(store, "chat").all()
    assert record.figures is None
    assert record.failure
    assert "context is 8192" in record.failure


@pytest.mark.slow
def test_transformers_are_measured_with_their_knobs(tiny_model: Path, tmp_path: Path) -> None:
    spec = ServeSpec.of(
        name="pilot", model=str(tiny_model), max_concurrency=4, traffic={"tokens_in": 20, "tokens_out": 12}
    )
    with Workspace(str(tmp_path / "workspace")) as place:
        found = place.endpoints.tune(spec, clients=4, seconds=1.0, trials=5)
        records = list(records_of(place.store, "pilot").all())
    assert [one.setting.max_concurrency for one in found.points[:3]] == [4, 1, 2]
    assert {dict(one.setting.knobs)["profile"] for one in found.points[3:]} == {"latency", "throughput"}
    assert all(one.figures and one.figures.tokens_per_s > 0 for one in found.points)
    assert found.chosen in found.front
    assert records[0].versions["transformers"]


def test_load_is_that_of_the_traffic(tmp_path: Path) -> None:
    load = load_of(echo_spec(tmp_path), clients=3, seconds=2.0)
    assert load == ServingLoad(clients=3, seconds=2.0, tokens_in=12, tokens_out=8)


@pytest.mark.parametrize(
    ("change", "why"), [({"clients": 0}, "0 clients"), ({"seconds": 0.0}, "for 0 s"), ({"seconds": -1.0}, "for -1 s")]
)
def test_load_that_measures_nothing_is_refused(tmp_path: Path, change: dict[str, float], why: str) -> None:
    with pytest.raises(SpecError, match=why):
        load_of(echo_spec(tmp_path), **({"clients": 2, "seconds": 1.0} | change))  # type: ignore[arg-type]


def test_answers_of_one_token_and_engines_without_text_are_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no time between tokens"):
        tune(store, echo_spec(tmp_path, traffic={"tokens_out": 1}))
    spec = ServeSpec.of(**{**echo_spec(tmp_path).model_dump(), "engine": "predict"})
    with pytest.raises(SpecError, match="the predict engine makes no text"):
        tune(store, spec)
    with pytest.raises(SpecError, match="0 trials"):
        tune(store, echo_spec(tmp_path), trials=0)
