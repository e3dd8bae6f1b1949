from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Tw
from tests.clusters.render.test_from_plan import placement, record
from tradewind.storage import open_store

SPEC = """
kind: cluster
name: harbour
head: {place: aws/us-west-2, machine: m7i.large}
groups:
  cpu:
    candidates: [{place: aws/us-west-2, machine: m6i.2xlarge}]
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "harbour.spec.yaml"
    path.write_text(SPEC)
    return path


def test_render_writes_a_file_beside_its_spec_that_passes_lint(tw: Tw, spec: Path, empty: Path) -> None:
    answer = tw("cluster", "render", spec, "-w", empty)
    assert (answer.exit_code, answer.err) == (0, "")
    assert answer.out.startswith(f"{spec.parent}/harbour.yaml: ")
    checked = tw("cluster", "lint", spec.parent / "harbour.yaml")
    assert (checked.exit_code, checked.out) == (0, "1 file: 0 errors, 0 warnings\n")


def test_render_writes_where_it_is_told(tw: Tw, spec: Path, empty: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    tw("cluster", "render", spec, "-o", tmp_path / "out", "-w", empty)
    assert (tmp_path / "out" / "harbour.yaml").is_file()


def test_check_fails_until_the_file_is_what_the_spec_says(tw: Tw, spec: Path, empty: Path) -> None:
    missing = tw("cluster", "render", spec, "--check", "-w", empty)
    assert missing.exit_code == 2
    assert "harbour.yaml: not what the spec is rendered to" in missing.err
    tw("cluster", "render", spec, "-w", empty)
    assert tw("cluster", "render", spec, "--check", "-w", empty).exit_code == 0
    path = spec.parent / "harbour.yaml"
    path.write_text(path.read_text() + "# by hand\n")
    assert tw("cluster", "render", spec, "--check", "-w", empty).exit_code == 2


def test_mistake_in_a_spec_names_file_and_line(tw: Tw, spec: Path, empty: Path) -> None:
    spec.write_text(SPEC.replace("m6i.2xlarge", "m6i.2xlarg"))
    answer = tw("cluster", "render", spec, "-w", empty)
    assert answer.exit_code == 2
    assert "harbour.spec.yaml:7: no machine type of aws named 'm6i.2xlarg' (did you mean 'm6i.2xlarge'?)" in answer.err


def test_spec_of_another_kind_is_refused(tw: Tw, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("kind: train\nname: a\n")
    assert "this is a 'train' spec, not a 'cluster' spec" in tw("cluster", "render", path).err


def test_neither_spec_nor_plan_is_refused(tw: Tw) -> None:
    assert "no spec and no plan is given" in tw("cluster", "render").err


def test_group_without_an_offer_says_the_nearest_prices(tw: Tw, spec: Path, empty: Path) -> None:
    spec.write_text(SPEC + "    max_price_per_hour: 0.01\n")
    answer = tw("cluster", "render", spec, "-w", empty)
    assert answer.exit_code == 2
    assert "nearest: aws-us-west-2-m6i-2xlarge-on-demand: $0.38/h" in answer.err


def test_plan_becomes_a_spec_and_its_file(tw: Tw, tmp_path: Path) -> None:
    place = {"cloud": "aws", "region": "us-east-1", "instance": "g6.xlarge", "market": "on_demand"}
    made = record(placement(), placement(**place, usd_per_machine_hour=0.8))
    open_store(str(tmp_path / "space")).create(f"plans/{made.plan}.json", made.to_json())
    answer = tw("cluster", "render", "--plan", f"{made.plan}#2", "-o", tmp_path, "-w", tmp_path / "space")
    assert answer.exit_code == 0
    assert {path.name for path in tmp_path.glob("*.yaml")} == {f"{made.plan}.spec.yaml", f"{made.plan}.yaml"}
    again = tw("cluster", "render", tmp_path / f"{made.plan}.spec.yaml", "--check", "-w", tmp_path / "space")
    assert again.exit_code == 0


def test_lint_exits_with_1_for_an_error_and_says_it_as_data(tw: Tw, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("cluster_name: a\nmax_workers: 1\nidle_timeout_minutes: 5\nprovider: {type: local}\n")
    answer = tw("cluster", "lint", path, "--json")
    assert answer.exit_code == 1
    found: list[dict[str, Any]] = answer.json
    assert {"TW141", "TW101"} <= {one["code"] for one in found}
    assert set(found[0]) == {"code", "severity", "file", "line", "message", "remedy"}


def test_warnings_alone_are_no_failure(tw: Tw, spec: Path, empty: Path) -> None:
    tw("cluster", "render", spec, "-w", empty)
    path = spec.parent / "harbour.yaml"
    path.write_text(path.read_text().replace("idle_timeout_minutes: 5\n", ""))
    answer = tw("cluster", "lint", path)
    assert answer.exit_code == 0
    assert "TW123 warning" in answer.out
    assert "1 file: 0 errors, 1 warning" in answer.out


def test_doctor_says_one_line_for_each_thing_and_exits_with_1(
    tw: Tw, spec: Path, empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    tw("cluster", "render", spec, "-w", empty)
    answer = tw("cluster", "doctor", spec.parent / "harbour.yaml")
    assert answer.exit_code == 1
    lines = answer.out.splitlines()
    assert "ok      safety: lint finds no error" in lines
    assert f"problem token: {tmp_path}/.ray/auth_token is not there → ray get-auth-token --generate" in lines
    states = {one["state"] for one in tw("cluster", "doctor", spec.parent / "harbour.yaml", "--json").json}
    assert states <= {"ok", "problem", "unknown"}
