from __future__ import annotations

from typing import Any

import pytest

from tests.clusters.hybrid.conftest import backend
from tradewind.clusters.hybrid.settings import Settings
from tradewind.errors import SpecError

HOSTS = {"type": "static", "hosts": ["10.0.0.1", "10.0.0.2"], "head": "10.0.0.1"}


def read(**changes: Any) -> Settings:
    written = {
        "type": "external",
        "module": "tradewind.clusters.hybrid.HybridNodeProvider",
        "use_internal_ips": True,
        "_config_cache_path": "/tmp/ray-config",
        "cluster": {"owner": "acme"},
        "backends": {"west": backend("us-west-2"), "berlin": HOSTS},
    }
    return Settings.read(written | changes)


def test_what_ray_adds_is_left_alone() -> None:
    settings = read()
    assert settings.cluster.owner == "acme"
    assert settings.static("berlin").hosts == ("10.0.0.1", "10.0.0.2")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"backends": {"west": {"type": "asw"}}}, r"provider\.backends\.west\.type: no .* 'asw' \(did you mean 'aws'"),
        ({"backends": {"west": {"hosts": ["a"]}}}, r"provider\.backends\.west\.type: no backend of type None"),
        ({"backends": {}}, r"provider: backends: "),
        ({"backends": {"a/b": HOSTS}}, r"provider\.backends\.a/b: the name of a backend has no '/'"),
        ({"backends": {"west": {"type": "aws", "cache_stopped_nodes": False}}}, r"west: region is missing"),
        ({"backends": {"iowa": {"type": "gcp", "cache_stopped_nodes": False}}}, r"iowa: project_id, region, .*miss"),
        ({"backends": {"west": {"type": "aws", "region": "us-west-2"}}}, r"west\.cache_stopped_nodes is not false"),
        ({"backends": {"west": backend("us-west-2") | {"ssh_ip": "public"}}}, r"west\.ssh_ip is 'public'"),
        ({"backends": {"berlin": {**HOSTS, "hosts": []}}}, r"provider\.backends\.berlin: hosts: "),
        ({"backends": {"berlin": {**HOSTS, "hosts": ["a", "a"]}}}, r"backends\.berlin: hosts: a is given twice"),
        ({"backends": {"berlin": {**HOSTS, "host": "a"}}}, r"provider\.backends\.berlin: unknown key 'host'"),
        ({"cluster": {"max_usd_per_hour": 0}}, r"provider: cluster\.max_usd_per_hour: "),
        ({"cluster": {"max_usd": 5}}, r"provider: unknown key 'max_usd' in cluster"),
        ({"cluster": {"owner": "Acme Inc."}}, r"provider: cluster\.owner: "),
    ],
)  # fmt: skip
def test_mistake_names_its_place(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        read(**changes)
