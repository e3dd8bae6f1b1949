"""Every spec in the repository is one that loads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tradewind.specs import ServeSpec, Spec, load

ROOT = Path(__file__).parents[2]
FOLDERS = ("jobs", "serve_apps", "cluster_configs")


def spec_files() -> list[str]:
    """All YAML files in git, and those in our folders that git does not know yet. Dotfiles are settings, not specs, and
    what `cluster_configs` holds beside its specs is rendered from them."""
    known = subprocess.run(["git", "ls-files", "*.yaml", "*.yml"], cwd=ROOT, capture_output=True, text=True, check=True)
    new = [path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*.y*ml")]
    names = {name for name in (*known.stdout.splitlines(), *new) if (ROOT / name).exists()}
    rendered = {name for name in names if name.startswith("cluster_configs/") and not name.endswith(".spec.yaml")}
    return sorted(name for name in names - rendered if not any(part.startswith(".") for part in Path(name).parts))


@pytest.mark.skipif(not (ROOT / "jobs").is_dir(), reason="no folder of specs has been written yet")
def test_there_are_specs() -> None:
    assert spec_files()


@pytest.mark.parametrize("name", spec_files())
def test_spec_in_the_repository_loads(name: str) -> None:
    specs = ServeSpec.load_all(ROOT / name) if name.startswith("serve_apps/") else [load(ROOT / name)]
    for spec in specs:
        assert isinstance(spec, Spec)
        assert spec.of(**spec.model_dump()) == spec
