from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Tw
from tradewind.specs import ServeSpec


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """The file of an endpoint whose tokens take 30 ms, and 300 ms more for each further request at once."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    file = tmp_path / "chat.yaml"
    file.write_text(f"""\
# To be tuned.
kind: serve
name: chat
model: {model}
engine: echo
max_concurrency: 4  # as of now
engine_settings: {{each_s: 0.03, each_more_s: 0.3}}
traffic: {{tokens_in: 12, tokens_out: 4}}
""")
    return file


@pytest.mark.slow
def test_tune_writes_the_spec_that_keeps_the_goal(tw: Tw, empty: Path, spec: Path) -> None:
    to = spec.with_name("tuned.yaml")
    words = ("serve", "tune", spec, "-w", empty, "--clients", 2, "--seconds", 1.5, "--trials", 2, "--itl-s", 0.2)
    answer = tw(*words, "--write", to)
    assert answer.exit_code == 0
    assert "chosen" in answer.out
    assert "for the spec:\n\nmax_concurrency: 1\n" in answer.out
    assert to.read_text() == spec.read_text().replace("max_concurrency: 4 ", "max_concurrency: 1 ")
    assert ServeSpec.load(to).max_concurrency == 1


@pytest.mark.slow
def test_tune_without_a_setting_that_keeps_the_goal_says_the_nearest(tw: Tw, empty: Path, spec: Path) -> None:
    to = spec.with_name("tuned.yaml")
    words = ("serve", "tune", spec, "-w", empty, "--clients", 2, "--seconds", 1, "--trials", 1, "--itl-s", 0.001)
    answer = tw(*words, "--write", to, "--json")
    assert answer.exit_code == 1
    assert answer.json["chosen"] == 1
    assert answer.json["trials"][0]["is_on_front"]
    assert "over 1.0 ms" in answer.json["misses"][0]
    assert not to.exists()
    answer = tw(*words)
    assert answer.exit_code == 1
    assert "no setting keeps the goals; trial 2 is nearest: ITL p95 is" in answer.out


def test_options_before_the_spec_are_those_of_start(tw: Tw, filled: Path) -> None:
    answer = tw("serve", "--host", "192.0.2.1", "-w", filled, "pilot@prod")
    assert answer.exit_code == 2
    assert "cannot listen on 192.0.2.1" in answer.err


def test_serve_alone_shows_what_there_is(tw: Tw) -> None:
    answer = tw("serve")
    assert answer.exit_code == 2
    assert "tune" in answer.out + answer.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--itl-s", "0"), "itl_s is 0.0"),
        (("--trials", "0"), "--trials"),
        (("--clients", "0"), "--clients"),
    ],
)
def test_tune_refuses_what_cannot_be_measured(
    tw: Tw, empty: Path, spec: Path, words: tuple[str, str], why: str
) -> None:
    answer = tw("serve", "tune", spec, "-w", empty, *words)
    assert answer.exit_code == 2
    assert why in answer.err


def test_tune_names_the_nearest_engine(tw: Tw, empty: Path, spec: Path) -> None:
    spec.write_text(spec.read_text().replace("engine: echo", "engine: eco"))
    answer = tw("serve", "tune", spec, "-w", empty)
    assert answer.exit_code == 2
    assert "did you mean 'echo'" in answer.err
