"""What Ray's launcher imports for each cloud, and where it fails with versions that are newer than Ray."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping

from tradewind.clusters.doctor.answer import Answer, ok, problem
from tradewind.clusters.doctor.versions import installed

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "aws": ("boto3", "botocore"),
    "gcp": ("google-api-python-client", "google-auth"),
    "azure": (
        "azure-cli-core",
        "azure-common",
        "azure-identity",
        "azure-mgmt-compute",
        "azure-mgmt-network",
        "azure-mgmt-resource",
        "msrest",
        "msrestazure",
    ),
}
"""What `ray.autoscaler._private` imports in Ray 2.60, by the names of PyPI."""

LAST_RESOURCE = 24
"""azure-mgmt-resource 26 has no `ResourceManagementClient` in `azure.mgmt.resource`, where Ray 2.60 looks for it."""


def check_libraries(clouds: Iterable[str], module: str = "") -> Iterator[Answer]:
    """`module` is the provider that a file names itself."""
    for cloud in clouds:
        if cloud in PACKAGES:
            yield _library(cloud)
    if module:
        yield _provider(module)


def _library(cloud: str) -> Answer:
    what = f"{cloud} libraries"
    missing = [package for package in PACKAGES[cloud] if installed(package) is None]
    if missing:
        return problem(what, f"{', '.join(missing)}: not installed", f"pip install 'tradewind[{cloud}]'")
    found = installed("azure-mgmt-resource") if cloud == "azure" else None
    if found and int(found.partition(".")[0]) > LAST_RESOURCE:
        said = f"azure-mgmt-resource {found}, which Ray 2.60 cannot import"
        return problem(what, said, "pip install azure-mgmt-resource==24.0.0")
    return ok(what, ", ".join(f"{package} {installed(package)}" for package in PACKAGES[cloud][:2]))


def _provider(module: str) -> Answer:
    name, _, attribute = module.rpartition(".")
    try:
        getattr(importlib.import_module(name), attribute)
    except (ImportError, AttributeError, ValueError) as exc:
        return problem(
            "provider", f"{module} cannot be imported: {exc}", "install the package that has it, here and on the head"
        )
    return ok("provider", f"{module} is there")
