from __future__ import annotations

from pathlib import Path

import pytest
import ray.autoscaler

from tradewind.clusters.lint import RULES, lint
from tradewind.clusters.lint.part import read_parts
from tradewind.errors import NotFoundError, SpecError

AUTOSCALER = Path(ray.autoscaler.__path__[0])


def test_finding_names_file_line_code_and_remedy(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("cluster_name: a\nmax_workers: 1\nidle_timeout_minutes: 5\nprovider:\n  type: local\n")
    (found,) = (finding for finding in lint(path) if finding.rule.code == "TW141")
    assert str(found) == (
        f"{path}:5: TW141 error: type local starts no workers under Ray's second autoscaler, and says nothing; "
        "use provider type external with a static backend"
    )


def test_findings_are_in_the_order_of_their_lines() -> None:
    lines = [finding.line for finding in lint(AUTOSCALER / "aws" / "defaults.yaml")]
    assert lines == sorted(lines)


@pytest.mark.parametrize("cloud", ["aws", "gcp", "azure"])
def test_files_that_ray_comes_with_are_unsafe_in_these_ways(cloud: str) -> None:
    codes = {finding.rule.code for finding in lint(AUTOSCALER / cloud / "defaults.yaml")}
    assert {"TW101", "TW102", "TW111", "TW112", "TW124", "TW125", "TW133"} <= codes


def test_lines_of_the_second_document_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("apiVersion: v1\nkind: A\n---\n# more\napiVersion: v1\nkind: B\nspec: {a: [1]}\n")
    first, second = read_parts(path)
    assert (first.line(("kind",)), second.line(("kind",))) == (2, 6)
    assert second.line(("spec", "a", 0, "none")) == 7


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [\n", r"a\.yaml:2: not valid YAML"),
        ("a: @b\n", r"a\.yaml:1: not valid YAML"),
        ("- a\n", r"neither a file for `ray up` nor a manifest"),
        ("kind: train\n", r"neither a file for `ray up` nor a manifest"),
        ("", r"neither a file for `ray up` nor a manifest"),
    ],
)
def test_what_is_no_cluster_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=complaint):
        lint(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file"):
        lint(tmp_path / "a.yaml")


def test_guide_lists_every_rule_as_it_is() -> None:
    page = (Path(__file__).parents[3] / "docs" / "guides" / "clusters.md").read_text()
    rows = {f"| {rule.code} | {rule.severity} | {rule.what} | {rule.remedy} |" for rule in RULES}
    assert rows == {line for line in page.splitlines() if line.startswith("| TW")}
