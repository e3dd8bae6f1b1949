from __future__ import annotations

import platform
from pathlib import Path

import pytest
import ray

from tradewind.clusters.doctor.libraries import check_libraries
from tradewind.clusters.doctor.versions import check_versions
from tradewind.clusters.lint.part import Part

PYTHON = ".".join(platform.python_version_tuple()[:2])


def installing(*commands: str) -> Part:
    return Part({"setup_commands": list(commands)}, {})


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder before all others, in which packages can be made to be there."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def install(folder: Path, name: str, version: str) -> None:
    place = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_same_versions_are_all_right() -> None:
    part = installing(f"uv venv --python {PYTHON} ~/env", f"pip install 'ray[default]=={ray.__version__}'")
    assert [answer.state for answer in check_versions(part)] == ["ok", "ok"]


def test_other_versions_in_the_file_are_problems_with_both() -> None:
    of_ray, of_python = check_versions(installing("conda create -n ray python=3.9", "pip install ray[default]==2.9.3"))
    assert (of_ray.state, of_ray.said) == ("problem", f"{ray.__version__} here, 2.9.3 in the file")
    assert (of_python.state, of_python.said) == ("problem", f"{PYTHON} here, 3.9 in the file")


def test_ray_of_another_minor_version_is_a_problem(installed: Path) -> None:
    install(installed, "ray", "2.59.1")
    of_ray, _ = check_versions(None)
    assert of_ray.state == "problem"
    assert "2.59.1" in of_ray.said


def test_library_that_ray_cannot_import_is_found(installed: Path) -> None:
    for name in ("azure-cli-core", "azure-mgmt-compute", "azure-mgmt-network", "azure-common", "msrest", "msrestazure"):
        install(installed, name, "1.0")
    install(installed, "azure-mgmt-resource", "26.0.0")
    (found,) = check_libraries(["azure"])
    assert found.said == "azure-mgmt-resource 26.0.0, which Ray 2.60 cannot import"
    assert found.fix == "pip install azure-mgmt-resource==24.0.0"


def test_library_of_the_right_version_is_all_right(installed: Path) -> None:
    for name in ("azure-cli-core", "azure-mgmt-compute", "azure-mgmt-network", "azure-common", "msrest", "msrestazure"):
        install(installed, name, "1.0")
    install(installed, "azure-mgmt-resource", "24.0.0")
    (found,) = check_libraries(["azure"])
    assert found.state == "ok"


def test_missing_library_is_named() -> None:
    (found,) = check_libraries(["azure"])
    assert found.state == "problem"
    assert "azure-cli-core" in found.said
    assert found.fix == "pip install 'tradewind[azure]'"


@pytest.mark.parametrize(
    ("module", "state"),
    [
        ("tradewind.clusters.hybrid.HybridNodeProvider", "ok"),
        ("tradewind.clusters.hybrid.HybridProvider", "problem"),
        ("acme.clouds.Provider", "problem"),
        ("Provider", "problem"),
    ],
)
def test_provider_that_a_file_names_is_imported(module: str, state: str) -> None:
    (found,) = check_libraries([], module)
    assert found.state == state
