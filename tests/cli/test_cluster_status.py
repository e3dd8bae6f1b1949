"""`tw cluster status` and `tw cluster sweep`, on a cluster of own hosts and on none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from tradewind.cli import cluster_status
from tradewind.errors import SpecError

pytest.importorskip("ray.autoscaler.node_provider")

app = typer.Typer()
app.command("status")(cluster_status.status)
app.command("sweep")(cluster_status.sweep)

CONFIG = {
    "cluster_name": "harbour",
    "provider": {
        "type": "external",
        "module": "tradewind.clusters.hybrid.HybridNodeProvider",
        "cluster": {"owner": "acme", "max_usd_per_hour": 5},
        "backends": {"berlin": {"type": "static", "hosts": ["10.0.0.1"], "head": "10.0.0.1"}},
    },
}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "hybrid.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


def with_head(path: Path) -> None:
    """As the head reads it: it finds itself there."""
    head = {"ray-node-kind": "head", "ray-user-node-type": "head", "tradewind-candidate": "berlin-1"}
    config = json.loads(json.dumps(CONFIG))
    config["provider"]["backends"]["berlin"]["seed"] = {"10.0.0.1": head}
    path.write_text(json.dumps(config))


def said(*words: object) -> str:
    answer = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.output


def test_nothing_alive_says_so(file: Path) -> None:
    assert "nothing of harbour is alive" in said("status", file)


def test_status_shows_each_machine_and_the_sum(file: Path) -> None:
    with_head(file)
    shown = said("status", file)
    assert "berlin/10.0.0.1" in shown
    assert "1 machines, $0.00 an hour of at most $5.00" in shown


def test_head_needs_no_file(file: Path, tmp_path: Path) -> None:
    with_head(tmp_path / "ray_bootstrap_config.yaml")
    plain = json.loads(said("status", "--json"))
    assert [machine["node"] for machine in plain["machines"]] == ["berlin/10.0.0.1"]
    assert plain["max_usd_per_hour"] == 5
    (backend,) = plain["backends"]
    assert (backend["name"], backend["kind"], backend["machines"], backend["trouble"]) == ("berlin", "static", 1, "")


def test_elsewhere_a_file_must_be_named(file: Path) -> None:
    with pytest.raises(SpecError, match=r"which cluster\?"):
        said("status")


def test_sweep_without_leaks_asks_nothing(file: Path) -> None:
    with_head(file)
    assert "nothing has leaked" in said("sweep", file)
    assert json.loads(said("sweep", file, "--json", "--dry-run")) == {"dry_run": True, "ended": [], "problems": []}
