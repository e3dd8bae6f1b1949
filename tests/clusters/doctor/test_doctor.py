from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.clusters.render.samples import SITE, candidate, group, made
from tradewind.clusters.doctor import clouds_of, examine
from tradewind.clusters.lint.part import read_parts
from tradewind.clusters.render import render
from tradewind.errors import NotFoundError, SpecError


@pytest.fixture(autouse=True)
def nobody_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")


def written(folder: Path, text: str) -> Path:
    path = folder / "a.yaml"
    path.write_text(text)
    return path


def test_each_part_of_a_file_has_an_answer(tmp_path: Path) -> None:
    path = written(tmp_path, render(made(), name="a")["a.yaml"])
    whats = [answer.what for answer in examine(path)]
    assert whats == [
        "ignored by Ray",
        "safety",
        "ray",
        "python",
        "aws libraries",
        "aws credentials",
        "token",
        "ssh key",
        "programs",
        "clock",
        "cached bootstrap",
    ]


def test_clouds_are_those_that_the_file_uses(tmp_path: Path) -> None:
    cluster = made(SITE, groups={"cpu": group(candidate(SITE), candidate("gcp/us-central1", "n2-standard-8"))})
    (part,) = read_parts(written(tmp_path, render(cluster, name="a")["a.yaml"]))
    assert clouds_of(part) == ["gcp"]


def test_parts_that_ray_ignores_are_named_with_their_line(tmp_path: Path) -> None:
    text = "cluster_name: a\nmax_workers: 1\nprovider:\n  type: local\n  worker_ips: []\n"
    found = [answer for answer in examine(written(tmp_path, text)) if answer.what == "ignored by Ray"]
    assert [answer.said.partition(":")[0] for answer in found] == ["line 4"]
    assert found[0].state == "problem"


def test_unsafe_file_is_a_problem_that_leads_to_lint(tmp_path: Path) -> None:
    path = written(tmp_path, "cluster_name: a\nprovider: {type: external}\n")
    (safety,) = (answer for answer in examine(path) if answer.what == "safety")
    assert (safety.state, safety.fix) == ("problem", f"tw cluster lint {path}")


def test_without_a_file_this_machine_is_looked_at() -> None:
    whats = [answer.what for answer in examine()]
    assert whats[:5] == ["ray", "python", "programs", "clock", "token"]


def test_manifest_and_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="not a file for `ray up`"):
        examine(written(tmp_path, "apiVersion: v1\nkind: Pod\n"))
    with pytest.raises(NotFoundError):
        examine(tmp_path / "none.yaml")
